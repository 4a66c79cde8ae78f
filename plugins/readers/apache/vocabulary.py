"""What ordinary visitors of the generated sites ask for, as grammar rules (see `generator_grammar`).

Much of it looks dangerous on purpose: searches for SQL and shell, names with apostrophes, links with `../`,
redirects that carry whole addresses, downloads of configuration files. A detector has to weigh whole
requests; no word gives the answer away. Hosts are example.com, example.org, example.net and names under
.test only (RFC 2606).
"""

from __future__ import annotations

from .generator_grammar import Alternatives

# Filled by hand: one alternative a line would hide the shape of a rule.
# fmt: off
NUMBERS = tuple(str(number) for number in range(1, 10_000))
HEX = tuple(f"{number:04x}" for number in range(0, 65_536, 7))

BASICS: dict[str, Alternatives] = {
    "n": NUMBERS,
    "digit": tuple("123456789"),
    "two": tuple(str(number) for number in range(10, 100)),
    "hex": HEX,
    "letters": tuple(a + b + c for a in "bcdfgklmnprstvz" for b in "aeiou" for c in "klmnrstxz"),
    "stamp": ("17{two}{two}{two}{two}{two}{digit}{two}",),
    "year": ("2023", "2024", "2025"),
    "date": ("{year}-0{digit}-1{digit}", "{year}-1{bit}-2{digit}"),
    "bit": ("0", "1"),
    "word": ("{noun}", "{noun}", "{letters}{letters}", "{adjective}"),
    "adjective": (
        "small", "red", "new", "cheap", "local", "large", "blue", "used", "online", "weekend", "green",
        "fast",
    ),
    "name": (
        "smith", "o'brien", "garcia", "d'angelo", "novak", "o'neill", "kim", "l'hermite", "schulz", "silva",
        "mc'kenna", "baker", "o'connor", "ivanova", "d'souza", "jones",
    ),
    "first": (
        "anna", "ben", "carla", "dev", "emil", "fatima", "grace", "hugo", "ines", "jon", "kira", "liam",
    ),
    "lang": ("en", "de", "fr", "es", "en-GB", "pt"),
    "scheme": ("https", "https", "https", "http"),
    "table": (
        "users", "orders", "accounts", "customers", "products", "members", "sessions", "logins", "payments",
    ),
    "column": ("id", "name", "password", "email", "price", "login", "pass", "total", "card", "created"),
    "partner": (
        "www.example.org", "login.example.com", "pay.example.net", "cdn.example.net", "news.example.org",
        "partner.test", "secure-pay.test", "files.example.org", "blog.example.net", "accounts.example.org",
        "shop-{letters}.test", "{letters}.example.org", "{letters}{letters}.example.net",
        "{noun}.example.com", "static.example.org",
    ),
}

# Text that people type into search boxes, the dangerous-looking part of it as various as the attacks are.
PHRASES: dict[str, Alternatives] = {
    "phrase": (
        (34, "{word}"), (40, "{adjective} {noun}"), (10, "{noun} {noun} {n}"), (10, "{noun}, {adjective}"),
        (12, "{first} {name}"), (8, "{name}"), (4, "{noun} & {noun}"), (3, "{two}% off {noun}"),
        (3, "{noun} (new)"), (4, "{first}'s {noun}"), (3, '"{adjective} {noun}"'), (3, "{noun} < {n}"),
        (2, "what's on; where?"), (3, "rock 'n' {noun}"), (4, "{noun} - {adjective}"), (18, "{oddity}"),
        (15, "{question}"), (10, "{snippet}"),
    ),
    "oddity": (
        "select union {noun}", "union jack {noun}", "student union {adjective}", "drop table lamp",
        "script font {noun}", "{noun} and {noun} or {noun}", "order by phone",
        "select {noun} from {adjective} {noun}", "table {n} and {n}", "alert system {noun}", "cat {noun}",
        "sleep {noun}", "{noun} or {n}={n}", "insert into album", "delete account", "exec {noun} chair",
        "image {noun}", "cookie recipe", "trust union ({first} {name})", "passwd reset", "etc.",
        "all {noun} where price < {n}", "echo {noun}", "ping {noun}", "src {noun}", "null {noun}",
        "char {noun}",
    ),
    "question": (
        "how to {verb} {thing}", "{thing} explained", "what does {thing} mean?", "{thing} in {tech}",
        "{tech}: {thing}", "{thing} vs {thing}", "error near '{thing}'", "is {thing} safe?",
        "{thing} ({tech})", "can't {verb} {thing}", "{verb} {thing}; {verb} {thing}",
    ),
    "verb": (
        "select", "escape", "print", "include", "run", "load", "drop", "read", "concat", "exec", "alert",
        "fetch",
    ),
    "tech": ("php", "mysql", "javascript", "bash", "python", "html", "sql", "linux", "apache", "windows"),
    "thing": (
        "union select", "<script> tag", "alert()", "onerror handler", "document.cookie", "/etc/passwd",
        "/etc/hosts", "../", "sleep()", "char(39)", "order by {digit}", "or 1=1", "group_concat",
        "information_schema", "$(command)", "`uname`", "cmd.exe", "wget", "curl -s", "a && b", "a | b",
        "/* comment */", "-- comment", "img src", "<img>", "onclick=", "javascript: links",
        "include 'x.php'", "php://input", "null byte", "%00", "0x{hex}", "system()", "exec()", "win.ini",
        "iframe", "<svg>", "onload", "eval()", "..\\", "like '%a%'", "drop table {table}", "cat file",
    ),
    "snippet": (
        "select {column} from {table} where {column}={n}",
        "SELECT {column}, {column} FROM {table} ORDER BY {column}",
        "select * from {table} where {column} = '{first}'", "select count(*) from {table} union select {n}",
        "<p class=\"{word}\">{noun}</p>", "<a href=\"/{noun}\">{noun}</a>",
        "<script src=\"/static/{noun}.js\"></script>", "<img src=\"{noun}.png\" alt='{noun}'>",
        "if (a<b && b>{n}) {verb}()", "for x in $(ls {noun}); do echo $x; done",
        "cat {noun}.txt | grep {word}", "ls -la /var/log; tail {noun}.log",
        "wget https://{partner}/{noun}.zip", "cd ../../{noun} && make", "include('../{noun}.php');",
        "ping -c {digit} {partner}", "console.log('{noun}');", "alert('{noun}')",
        "document.getElementById('{word}')", "insert into {table} values ({n}, '{name}')",
        "curl {scheme}://{partner}/{noun} | sh", "chmod 644 /etc/{word}.conf",
        "update {table} set {column}={n} where {column}='{name}'", "case when {n}={n} then {n} end",
        "{noun}--{noun}", "<body onload=\"{verb}()\">", "onclick=\"{verb}('{noun}')\"",
        "concat({column}, ' ', {column})", "$HOME/{noun};",
    ),
}

# Whole request targets of ordinary visitors. Paths come from the site.
TARGETS: dict[str, Alternatives] = {
    "asset": (
        "/static/css/{sheet}.css?v={hex}", "/static/js/{sheet}.js?v={hex}", "/images/{noun}-{two}.png",
        "/favicon.ico", "/images/{noun}/{n}.jpg", "/static/fonts/{sheet}.woff2", "/media/{hex}{hex}.webp",
        "/robots.txt",
    ),
    "sheet": ("main", "site", "print", "vendor", "app", "theme", "script"),
    "search": (
        "/search?q={?phrase}", "/search?q={?phrase}&page={digit}", "/search?lang={lang}&q={?phrase}",
        "/suggest?term={?phrase}&_={stamp}", "/{textual}{?phrase}", "/search?q={?phrase}&sort={sort}",
    ),
    "sort": ("price", "name", "-date", "date:desc", "name,asc", "price|name"),
    "view": (
        "{page}", "{page}", "/{keyed}{n}", "/{keyed}{n}{tail}", "/{keyed}{noun}-{n}",
        "/{keyed}{letters}{two}",
    ),
    "tail": (
        "", "", "", "&page={digit}", "&lang={lang}", "&ref={letters}", "&sort={sort}",
        "&utm_source={letters}",
    ),
    "listing": (
        "/{keyed}{n},{n},{n}", "/api/v{digit}/{noun}?fields=id|name|{column}&limit={two}",
        "/{keyed}{n}&tags={noun};{noun}", "/api/v1/{noun}?filter={?filter}",
        "/calendar?from={date}&to={date}", "/{textual}{noun}*", "/{keyed}-{digit}",
        "/{textual}{noun}&price=${two}-${n}", "/feed?_={stamp}", "/api/v1/{noun}/{n}?_={stamp}",
        "/?v={hex}", "/?{letters}={two}", "/{noun}?nocache={stamp}", "/search?q={word}&r=0.{n}{n}{n}",
        "/?cb={n}{n}",
    ),
    "filter": (
        "{column} eq '{name}'", "{column}>{n}", "({column}={n})", "{column}='{noun}' and {column}<{n}",
        '{"{column}":"{noun}"}', "{column} in ({n},{n})", "not({column})", '["{noun}",{n}]',
        "{column}={n} or {column}={n}", "{column} like '{first}%'",
    ),
    "redirect": (
        "/{jump}{?outward}", "/{jump}{?outward}&lang={lang}", "/{jump}{?inward}", "/login?next={?inward}",
        "/share?u={?outward}&t={?phrase}", "/{jump}{scheme}://{partner}/{noun}", "/{fetching}{?outward}",
    ),
    "outward": (
        "{scheme}://{partner}/", "{scheme}://{partner}/{noun}/{n}",
        "{scheme}://{partner}/{noun}?id={n}&ref={letters}", "//{partner}/{noun}",
        "{scheme}://{partner}/{noun}.{media}", "{scheme}://{partner}/login?next=/{noun}",
        "{scheme}://{partner}/{noun}?u={scheme}://{partner}/{noun}", "{scheme}://{partner}/account/{noun}",
    ),
    "inward": ("{page}", "/{keyed}{n}", "/search?q={phrase}", "../{noun}", "/account?tab={noun}"),
    "media": ("png", "jpg", "xml", "txt", "html", "php", "json", "pdf"),
    "document": (
        "/{opening}{file}", "/{opening}{?file}", "/{opening}docs/{noun}.pdf", "/docs/{file}",
        "/docs/{noun}/../{noun}.html", "/docs/guide/../../images/{noun}.png",
        "/docs/etc/{word}-format.html", "/docs/{tech}/{verb}-{noun}.html", "/docs/../{noun}/index.php",
        "/static/../docs/{noun}.html", "/{opening}{noun}/../{noun}.html", "/docs/./{noun}",
    ),
    "file": (
        "etc/nginx/nginx.conf", "etc/apache2/sites/{noun}.conf", "etc/hosts.md", "config/{noun}.ini",
        "docs/{noun}.txt", "../{noun}/readme.txt", "../../shared/{noun}.pdf", "var/log/{noun}.log.gz",
        "manual/passwd.5.html", "{noun}.php.txt", "windows/win.ini.sample", "{noun}/{year}/{noun}.csv",
        "etc/passwd.sample", "{noun}'s-{noun}.doc", "home/{first}/{noun}.txt", "boot/{noun}.cfg",
        "proc/{noun}.html", "./{noun}.html", "/srv/{noun}/{noun}.txt", "/etc/motd", "{noun}..{noun}.txt",
    ),
    "form": (
        "/login", "/account/edit?id={n}", "/{keyed}{n}", "/comment?id={n}&title={?phrase}", "/contact",
        "/cart?add={n}",
    ),
    "wrong": (
        "/wp-login.php", "/index.php?page={noun}", "/.well-known/{letters}.txt", "/{noun}.php", "/admin/",
        "/old/{noun}.asp?id={n}", "/{letters}{letters}/", "/cgi-bin/{letters}.cgi?{letters}={n}",
        "/{noun}.html)", "/%22{noun}%22", "/{noun}%20", "/{noun}';", "http://{host}/{noun}",
        "//{noun}//index.html",
    ),
}

# Where parameters sit on every site; each site adds its own, so that traffic overlaps without being equal.
PLACES: dict[str, list[str]] = {
    "keyed": ["view?id=", "index.php?id=", "item?no=", "profile?user="],
    "textual": ["find?text=", "search?q=", "index.php?s=", "comments?title="],
    "opening": ["download?file=", "view?page=", "show?doc=", "index.php?page="],
    "jump": ["redirect?url=", "go?to=", "login?next=", "logout?return="],
    "fetching": ["preview?url=", "feed?src=", "embed?link=", "index.php?page="],
    "running": ["status?host=", "export?name=", "tools?target=", "report?format="],
}
