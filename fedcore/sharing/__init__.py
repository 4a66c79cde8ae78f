"""Training a linear model on rows that nobody sees: two compute owners hold shares, a dealer deals randomness.

**Laws.** All arithmetic is in the integers modulo 2^64. A number x is shared as x = x0 + x1; compute owner i holds xi,
which alone is uniformly random. Each owner's rows X are masked once for the whole run: E = X - A, with A = A0 + A1
expanded from two keys. Both compute owners get E, each one key, the dealer both keys and never E (Mohassel and Zhang,
"SecureML", S&P 2017; Beaver, CRYPTO 1991). A product with a vector w, itself opened under a fresh mask as f = w - b, is
X w = E (f + b) + A f + A b: the first terms each compute owner has shares of, the last one is dealt.

**Who sees what, assuming what.** Assume that AES-256 in counter mode is a pseudorandom function, that all three follow
the protocol, and that no two of them put together what they hold.

* A compute owner sees E, and for every batch three openings, all of them uniformly random numbers whatever rows and
  weights are; how many rows each owner brings, and the run's plan; once an epoch, how many scores left their range;
  in the end its share of the weights.
* The dealer sees keys and the number of rows, and nothing that depends on a row or weight.
* The coordinator carries sealed bytes, and adds the two shares of the final weights, which is the model.

**Coalitions.** The two compute owners together read every row of every owner. So does the dealer together with either
of them. A dealer that deals falsely can make openings depend on rows, and with what the compute owners later show of
the model learn some of them; a compute owner that computes falsely can spoil the model, and shift single scores. None
of this is noticed: the protocol is for parties that are curious, not for such that cheat.

**What is exact.** Products and sums are. Rounded are: rows to `fraction_bits` (once), and per row the error of its
score, by a truncation whose expected value is the number itself (`fedcore.sharing.truncation`), or by a table that is
interpolated at random between entries so that its expected value is the sigmoid's interpolation
(`fedcore.sharing.lookup`). Neither can fail while the scores are in range, and that they are is checked each epoch.
With momentum or weight decay the velocity is truncated too, at the weights' own bits; that it fits is not checked, so a
plan asks for bits at which one that does not would take scores out of their range (`fedcore.sharing.scales`).
"""
