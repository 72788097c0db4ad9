"""Published answers: those of phe's own tests, and the example of ISO/IEC 18033-6."""

from __future__ import annotations

from privcompute.he.paillier import Encrypted, FixedPoint, Interval, Packing, PrivateKey, textbook
from privcompute.he.paillier.decryption import plaintexts
from privcompute.he.paillier.plain_square import PlainSquare
from privcompute.he.paillier.rows import from_rows, to_rows
from privcompute.he.paillier.squares import square_of


def test_the_small_key_of_phe() -> None:
    """n = 293 * 433; the numbers are those of data61/python-paillier, phe/tests/paillier_test.py."""
    n = 126869
    assert textbook.encrypt(n, 10100, 74384) == 935906717
    assert textbook.encrypt(n, 1, 1) == 126870
    assert textbook.decrypt(293, 433, 935906717) == 10100
    assert textbook.decrypt(293, 433, textbook.add(n, 935906717, 126870)) == 10101
    for square in (PlainSquare(n), square_of(n)):
        randomness = to_rows([74384], 1)
        message = to_rows([10100], 1)
        assert from_rows(square.powers(randomness, to_rows([n], 1), 17, message)) == [935906717]


def test_iso_18033_6(iso: dict[str, int]) -> None:
    owner = PrivateKey.from_primes(iso["p"], iso["q"], elsewhere=True)  # gcd(p - 1, q - 1) is not 2
    n = iso["p"] * iso["q"]
    wanted = [iso["c1"], iso["c2"]]
    assert [textbook.encrypt(n, iso[f"m{i}"], iso[f"r{i}"]) for i in (1, 2)] == wanted
    randomness, messages = (to_rows([iso[f"{name}{i}"] for i in (1, 2)], 64) for name in "rm")
    ours = owner.public.square.powers(randomness, to_rows([n], 32), 2048, messages[:, :32].copy())
    assert from_rows(ours) == wanted
    assert from_rows(owner.public.square.product(ours)) == [iso["c_sum"]]
    found = from_rows(plaintexts(owner, to_rows([*wanted, iso["c_sum"]], 64)))
    assert found == [iso["m1"], iso["m2"], iso["sum"]]
    packing = Packing(FixedPoint(0, 2**127), 2048, terms=2, slots=1)
    columns = [Encrypted(owner.public, packing, 1, Interval(0, 2**127), to_rows([c], 64)) for c in wanted]
    total = columns[0] + columns[1]
    assert from_rows(total.rows) == [iso["c_sum"]]
    assert owner.decrypt(total).integers == (iso["sum"],)
