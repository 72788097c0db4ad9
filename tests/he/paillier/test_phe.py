"""Keys, ciphertexts and EncryptedNumbers to phe and back."""

from __future__ import annotations

import builtins
from fractions import Fraction
from typing import Any

import pytest

from privcompute.errors import PeerError, UsageError
from privcompute.he.paillier import Encryptor, FixedPoint, Packing, PrivateKey, phe_interop

phe = pytest.importorskip("phe")
STEP = Fraction(1, 2**12)
PACKING = Packing(FixedPoint(-1000, 1000, STEP), 2048, terms=8, factor=100, slots=1)
VALUES = [0, 1, -1, 1000, -1000, 12.5, -0.25, 2.0**-10]


@pytest.fixture(scope="module")
def theirs() -> tuple[Any, Any]:
    keys: tuple[Any, Any] = phe.generate_paillier_keypair(n_length=2048)
    return keys


def test_our_ciphertexts_there(owner: PrivateKey, encryptor: Encryptor) -> None:
    private = phe_interop.private_key_to_phe(owner)
    numbers = phe_interop.to_encrypted_numbers(encryptor.encrypt(VALUES, PACKING))
    assert [private.decrypt(number) for number in numbers] == VALUES
    assert private.decrypt(numbers[3] + numbers[5] * 2) == 1025
    assert private.decrypt(numbers[6] + 7) == 6.75
    assert [private.decrypt(x) for x in phe_interop.to_encrypted_numbers(encryptor.encrypt(VALUES, PACKING) * -3)] == [
        -3 * v for v in VALUES
    ]


def test_their_ciphertexts_here(owner: PrivateKey, encryptor: Encryptor) -> None:
    public = phe_interop.public_key_to_phe(owner.public)
    numbers = [public.encrypt(v, precision=2.0**-8) if v != VALUES[-1] else public.encrypt(1) for v in VALUES]
    batch = phe_interop.from_encrypted_numbers(owner.public, numbers, PACKING)
    assert list(owner.decrypt(batch)) == [*VALUES[:-1], 1]
    both = batch + encryptor.encrypt(VALUES, PACKING)
    assert list(owner.decrypt(both)) == [*(2 * v for v in VALUES[:-1]), 1 + VALUES[-1]]
    doubled = Packing(FixedPoint(-2000, 2000, STEP), 2048, terms=8, slots=1)
    there_and_back = phe_interop.to_encrypted_numbers(both.fresh(encryptor))
    batch = phe_interop.from_encrypted_numbers(owner.public, there_and_back, doubled)
    assert list(owner.decrypt(batch)) == list(owner.decrypt(both))


def test_their_keys_here(theirs: tuple[Any, Any]) -> None:
    public, private = theirs
    mine = phe_interop.private_key_from_phe(private)
    received = phe_interop.public_key_from_phe(public)
    proved = received.verify(mine.prove(b"x"), b"x")
    for key in (proved, received.assume_well_formed()):
        batch = Encryptor(key).encrypt(VALUES, PACKING)
        assert list(mine.decrypt(batch)) == VALUES
        assert [private.decrypt(x) for x in phe_interop.to_encrypted_numbers(batch)] == VALUES
    back = phe_interop.private_key_to_phe(mine)
    assert (back.p * back.q, back.public_key) == (private.p * private.q, public)


def test_any_step_of_two(owner: PrivateKey, encryptor: Encryptor) -> None:
    private = phe_interop.private_key_to_phe(owner)
    for step in (1, 2, 16, 48, Fraction(1, 2), Fraction(1, 4), Fraction(1, 8), Fraction(3, 16), Fraction(1, 2**53)):
        packing = Packing(FixedPoint(-1000 * step, 1000 * step, step), 2048, terms=3, slots=1)
        values = [7 * Fraction(step), -1000 * Fraction(step)]
        numbers = phe_interop.to_encrypted_numbers(encryptor.encrypt(values, packing))
        assert [private.decrypt(x) for x in numbers] == values
        finer = Packing(FixedPoint(-1000 * step, 1000 * step, Fraction(16) ** numbers[0].exponent), 2048, 3, slots=1)
        back = phe_interop.from_encrypted_numbers(owner.public, numbers, finer)
        assert list(owner.decrypt(back)) == values


def test_what_does_not_convert(owner: PrivateKey, encryptor: Encryptor, theirs: tuple[Any, Any]) -> None:
    public = phe_interop.public_key_to_phe(owner.public)
    packed = Packing(FixedPoint(0, 1), 2048, terms=1)
    decimal = Packing(FixedPoint(0, 1, Fraction(1, 10)), 2048, terms=1, slots=1)
    broken = phe.EncryptedNumber(public, 0)
    for thing, code in (
        (lambda: phe_interop.to_encrypted_numbers(encryptor.encrypt([1], packed)), "packed"),
        (lambda: phe_interop.to_encrypted_numbers(encryptor.encrypt([1], decimal)), "bad_encoding"),
        (lambda: phe_interop.from_encrypted_numbers(owner.public, [public.encrypt(0.1)], PACKING), "bad_encoding"),
        (lambda: phe_interop.from_encrypted_numbers(owner.public, [theirs[0].encrypt(1)], PACKING), "mismatch"),
        (lambda: phe_interop.from_encrypted_numbers(owner.public, [public.encrypt(1)], packed), "packed"),
        (lambda: phe_interop.from_encrypted_numbers(owner.public, [broken], PACKING), "bad_ciphertext"),
    ):
        with pytest.raises(UsageError) as caught:
            thing()
        assert caught.value.code == code
    with pytest.raises(PeerError):
        phe_interop.public_key_from_phe(phe.PaillierPublicKey(126869))
    with pytest.raises(UsageError):
        phe_interop.private_key_from_phe(phe.PaillierPrivateKey(phe.PaillierPublicKey(126869), 293, 433))


def test_without_phe(owner: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "phe":
            raise ImportError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError) as caught:
        phe_interop.public_key_to_phe(owner.public)
    assert caught.value.code == "no_phe"
