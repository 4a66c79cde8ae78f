"""What only a holder of the secret key can do: open ciphertexts, so that what is opened may be shown.

**Why results are blurred.** An approximate result carries an error that depends on the secret key. Whoever sees a
ciphertext and what was opened exactly as it came out finds the key from very few of them (B. Li, D. Micciancio: On the
Security of Homomorphic Encryption on Approximate Numbers, Eurocrypt 2021). So normally distributed noise, much larger
than any error that the options allow, is added before opening, and what is opened is rounded to the declared precision
(the first is noise flooding: B. Li, D. Micciancio, M. Schultz, J. Sorrell: Securing Approximate Homomorphic Encryption
Using Differential Privacy, Crypto 2022). Rounding alone would not do: close to a boundary it shows the error. The error
must not be larger than thought, so it is bounded also for sums of what depends on one another, never taken for
independent (Q. Guo, D. Nabokov, E. Suvanto, T. Johansson, USENIX Security 2024).

How much is added depends on how often a key opens, so a key counts, and refuses beyond. Each part of a ciphertext, of
as many numbers as it has room for, counts.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import numpy as np
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid
from fedcore.plugin_api.ciphers import KeyPair, Numbers, SecretCipher, key_invalid

from .cipher import CkksCiphertext, CkksPublic
from .keys import OPENINGS, read_secret, spent_in, with_spent

_TRIAL_ERROR: Final = 100
"""How many standard deviations of noise a trial may be off: a wrong key is off by all of the modulus."""


class CkksSecret(SecretCipher[CkksCiphertext]):
    """Opens, blurs, rounds and counts."""

    def __init__(self, public: CkksPublic, pair: KeyPair) -> None:
        self._public = public
        self._pair = pair
        self._scheme = public.scheme
        self._decryptor = sealapi.Decryptor(self._scheme.context, read_secret(pair.secret, self._scheme))
        self._check_trial()
        OPENINGS.remember(public.digest, spent_in(pair.secret))

    @property
    def pair(self) -> KeyPair:
        """The key pair with its present count: store it before a result leaves, or the count starts again where the
        stored one was."""
        return with_spent(self._pair)

    @property
    def left(self) -> int:
        """How many parts of ciphertexts the key still opens."""
        return max(0, self._public.declared.decryptions - OPENINGS.spent(self._public.digest))

    def decrypt(self, ciphertext: CkksCiphertext) -> Numbers:
        """The numbers, multiples of `2^-precision`. Raises `WireError`: `key_spent` where the key has opened as much
        as it may; `artefact_invalid` for a ciphertext of another key, before opening it, and for one that holds
        something else than it says."""
        self._public.check_own(ciphertext)
        OPENINGS.take(self._public.digest, len(ciphertext.parts), self._public.declared.decryptions)
        flooded = [self._opened(self._flooded(part, ciphertext.level)) for part in ciphertext.parts]
        step = 2.0**-self._public.declared.precision
        rounded = np.round(np.concatenate(flooded) / step) * step + 0.0
        numbers, rest = rounded[: ciphertext.count], rounded[ciphertext.count :]
        if not np.abs(rounded).max() <= ciphertext.magnitude + step:
            raise invalid("the ciphertext holds larger numbers than it says, or none")
        if len(rest) and np.abs(rest).max() > step:
            raise invalid("the ciphertext holds numbers behind the last one")
        return numbers

    def _opened(self, part: Any) -> NDArray[np.float64]:
        plaintext = sealapi.Plaintext()
        self._decryptor.decrypt(part, plaintext)
        if self._public.declared.depth:
            return np.array(self._scheme.encoder.decode_double(plaintext))
        halves = np.array(self._scheme.encoder.decode_complex(plaintext))
        return np.concatenate([halves.real, halves.imag])

    def _flooded(self, part: Any, level: int) -> Any:
        """With the noise inside: what floating point does later to both together shows no more than both together."""
        scale, slots = self._scheme.scales[level], self._scheme.parameters.slots
        noise = self._scheme.parameters.flood / scale * normal(2 * slots).view(np.complex128)
        encoded = self._scheme.encoded(noise.tolist(), level, scale)
        flooded = sealapi.Ciphertext()
        self._scheme.evaluator.add_plain(part, encoded, flooded)
        return flooded

    def _check_trial(self) -> None:
        """Opens what it encrypts, and a product where there are such: both keys belong together, or `key_invalid`."""
        one = self._public.encrypt(np.array([0.5, -0.25]))
        trials = [(one, [0.5, -0.25])]
        if self._public.declared.depth:
            trials.append((self._public.multiply(one, one), [0.25, 0.0625]))
        error = self._scheme.parameters.degree / 6 / min(self._scheme.scales)
        for ciphertext, expected in trials:
            found = self._opened(ciphertext.parts[0])[:2]
            if not np.abs(found - expected).max() <= _TRIAL_ERROR * ciphertext.noise * error + 2.0**-45:
                raise key_invalid("the secret key belongs to another public key")


def normal(count: int) -> NDArray[np.float64]:
    """Independent normally distributed numbers from the system's randomness, by the method of Box and Muller."""
    words = np.frombuffer(secrets.token_bytes(16 * count), np.uint64).reshape(2, count) >> np.uint64(11)
    radius, angle = (words + np.array([[1], [0]], np.uint64)).astype(np.float64) * 2.0**-53
    numbers: NDArray[np.float64] = np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)
    return numbers
