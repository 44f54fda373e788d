"""Derive the polynomial coefficients of coefficients.h (near-minimax, by Chebyshev interpolation).

Run: python csrc/math/coefficients.py > csrc/math/coefficients.h   (needs mpmath)
"""

import struct

import mpmath as mp

mp.mp.dps = 60


def chebyshev_monomials(f, lo, hi, terms):
    """Monomial coefficients of the polynomial through f at the Chebyshev nodes of [lo, hi]."""
    nodes = [mp.cos(mp.pi * (2 * k + 1) / (2 * terms)) for k in range(terms)]
    xs = [(lo + hi) / 2 + (hi - lo) / 2 * t for t in nodes]
    matrix = mp.matrix(terms, terms)
    for r, x in enumerate(xs):
        for c in range(terms):
            matrix[r, c] = x**c
    return list(mp.lu_solve(matrix, mp.matrix([f(x) for x in xs])))


def guard(f, series):
    """f, or its value from a short series where the closed form cancels."""
    return lambda x: series if abs(x) < mp.mpf(10) ** -25 else f(x)


THIRD = mp.mpf(1) / 3
POLYS = {
    # exp(r) = 1 + r + r^2 q(r), |r| <= ln2 / 2
    "exp": (
        guard(lambda r: (mp.exp(r) - 1 - r) / r**2, mp.mpf(1) / 2),
        -mp.log(2) / 2 * mp.mpf("1.01"),
        mp.log(2) / 2 * mp.mpf("1.01"),
        5,
        10,
    ),
    # log1p(e) = t p(t^2), t = e / (2 + e) in [0, 1/3]
    "log1p": (
        guard(lambda s: 2 * mp.atanh(mp.sqrt(s)) / mp.sqrt(s), mp.mpf(2)),
        mp.mpf(0),
        THIRD**2,
        5,
        11,
    ),
    # log(m) = t p(t^2), t = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2)]
    "log": (
        guard(lambda s: 2 * mp.atanh(mp.sqrt(s)) / mp.sqrt(s), mp.mpf(2)),
        mp.mpf(0),
        mp.mpf("0.02944"),
        4,
        8,
    ),
    # erf(x / sqrt 2) = x p(x^2), |x| <= 1
    "erf_small": (
        guard(lambda s: mp.erf(mp.sqrt(s / 2)) / mp.sqrt(s), mp.sqrt(2 / mp.pi)),
        mp.mpf(0),
        mp.mpf(1),
        6,
        11,
    ),
    # (1 + x) exp(x^2 / 2) erfc(x / sqrt 2) as a polynomial in (x - 4) / (x + 4), x >= 0
    "erfcx": (
        lambda u: (
            mp.mpf(1)
            if u > 1 - mp.mpf(10) ** -30
            else (lambda x: (1 + x) * mp.exp(x * x / 2) * mp.erfc(x / mp.sqrt(2)))(
                4 * (1 + u) / (1 - u)
            )
        ),
        mp.mpf(-1),
        mp.mpf("0.86"),
        12,
        24,
    ),
    # sin(r) = r + r^3 p(r^2), cos(r) = 1 - r^2/2 + r^4 p(r^2), |r| <= pi/2
    "sin": (
        guard(lambda s: (mp.sin(mp.sqrt(s)) / mp.sqrt(s) - 1) / s, -mp.mpf(1) / 6),
        mp.mpf(0),
        (mp.pi / 2) ** 2 * mp.mpf("1.01"),
        5,
        9,
    ),
    "cos": (
        guard(lambda s: (mp.cos(mp.sqrt(s)) - 1 + s / 2) / s**2, mp.mpf(1) / 24),
        mp.mpf(0),
        (mp.pi / 2) ** 2 * mp.mpf("1.01"),
        5,
        9,
    ),
}

# Tables of 2^bits entries that fit half a register of AVX2, for exp and log1p near one of them.
TABLE_BITS = {"float": 3, "double": 2}


def near_tables(ctype):
    """name -> values of what exp_nonpositive and log1p_unit (activations.h) need."""
    entries = 1 << TABLE_BITS[ctype]
    float32 = ctype == "float"
    half = mp.log(2) / 2 / entries * mp.mpf("1.01")
    exp, *_ = POLYS["exp"]
    # exp - 1 is small where exp is not: one term more in float32.
    out = {
        "exp_near": chebyshev_monomials(exp, -half, half, 2 if float32 else 7),
        "expm1_near": chebyshev_monomials(exp, -half, half, 3 if float32 else 7),
    }
    if float32:
        # Short enough that (1 + e) c - 1 is rounded once.
        unit = mp.mpf(2) ** 12
        nodes = [mp.nint(unit / (1 + mp.mpf(j) / 7)) / unit for j in range(entries)]
        widest = max(
            abs((1 + min(max(mp.mpf(2 * j + side) / 14, 0), 1)) * nodes[j] - 1)
            for j in range(entries)
            for side in (-1, 1)
        )
        series = guard(lambda r: (mp.log1p(r) - r) / r**2, -mp.mpf(1) / 2)
        out["log1p_near"] = chebyshev_monomials(series, -widest, widest, 4)
        logs = [-mp.log(c) for c in nodes]
    else:
        nodes = [mp.nint(mp.mpf(j) / 3 * 64) / 64 for j in range(entries)]
        widest = max(
            abs((e - nodes[j]) / (2 + e + nodes[j]))
            for j in range(entries)
            for e in (min(max(mp.mpf(2 * j + side) / 6, 0), 1) for side in (-1, 1))
        )
        atanh, *_ = POLYS["log1p"]
        out["log1p_near"] = chebyshev_monomials(atanh, mp.mpf(0), (widest * 1.01) ** 2, 6)
        logs = [mp.log1p(e) for e in nodes]
    return out | {"log1p_node": nodes, "log1p_at": logs}


def exp_table(ctype):
    """Bits of 2^(j / J), less those that j itself adds when it is shifted to the exponent; and what
    each lacks to the true power, relative to it."""
    shape, kind, mantissa = ("<i", "<f", 23) if ctype == "float" else ("<q", "<d", 52)
    bits = TABLE_BITS[ctype]
    whole, lacks = [], []
    one = struct.unpack(shape, struct.pack(kind, 1.0))[0]
    for j in range(1 << bits):
        power = mp.mpf(2) ** (mp.mpf(j) / 2**bits)
        packed = struct.pack(kind, float(power))
        whole.append(struct.unpack(shape, packed)[0] - one - (j << (mantissa - bits)))
        held = mp.mpf(struct.unpack(kind, packed)[0])
        lacks.append((power - held) / held)
    return whole, lacks


def split(value, bits, parts):
    """value as a sum of parts with `bits` significant bits each (the last one in full)."""
    out = []
    for k in range(parts):
        if k == parts - 1:
            out.append(value)
            break
        scale = mp.mpf(2) ** (bits - 1 - mp.floor(mp.log(abs(value), 2)))
        head = mp.nint(value * scale) / scale
        out.append(head)
        value -= head
    return out


def number(value, suffix):
    return mp.nstr(value, 20, strip_zeros=False, min_fixed=0, max_fixed=0) + suffix


def main():
    print("// Made by coefficients.py; do not edit. Lowest order first.\n#pragma once")
    print("#include <cstdint>\n")
    print("namespace edt {\n\ntemplate <class T>\nstruct Coef;\n")
    for ctype, suffix, which in (("float", "f", 3), ("double", "", 4)):
        print(f"template <>\nstruct Coef<{ctype}> {{")
        for name, (f, lo, hi, *terms) in POLYS.items():
            c = chebyshev_monomials(f, lo, hi, terms[which - 3])
            body = ",\n      ".join(number(v, suffix) for v in c)
            print(f"  static constexpr {ctype} {name}[] = {{\n      {body}}};")
        for name, c in near_tables(ctype).items():
            body = ",\n      ".join(number(v, suffix) for v in c)
            print(f"  static constexpr {ctype} {name}[] = {{\n      {body}}};")
        whole = "int32_t" if ctype == "float" else "int64_t"
        bits, lacks = exp_table(ctype)
        body = ",\n      ".join(map(str, bits))
        print(f"  static constexpr {whole} exp_bits[] = {{\n      {body}}};")
        body = ",\n      ".join(number(v, suffix) for v in lacks)
        print(f"  static constexpr {ctype} exp_lacks[] = {{\n      {body}}};")
        short = 11 if ctype == "float" else 32
        ln2 = split(mp.log(2), short, 2)
        pi = split(mp.pi, short, 3)
        for name, values in (("ln2", ln2), ("pi", pi)):
            print(
                f"  static constexpr {ctype} {name}[] = {{"
                + ", ".join(number(v, suffix) for v in values)
                + "};"
            )
        print("};\n")
    print("}  // namespace edt")


main()
