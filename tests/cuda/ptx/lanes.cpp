// What instructions compute, lane by lane; the names are PTX's without modifiers that change
// nothing here ("add.s32", "setp.lt.f32", "cvt.s64.s32").
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <unordered_map>

#include "machine.h"

namespace ptx {
namespace {

template <class T>
T get(uint64_t bits) {
  if constexpr (std::is_same_v<T, bool>) return bits != 0;
  else {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
  }
}
template <class T>
uint64_t put(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class F>
void run(const Instruction& i, Register* r, uint32_t active) {
  uint64_t* const d = r[i.dst[0]].data();
  const uint64_t *a = r[i.src[0]].data(), *b = r[i.src[1]].data(), *c = r[i.src[2]].data();
  const uint64_t* const e = r[i.src[3]].data();
  if (active == kAll) {
    for (int l = 0; l < kLanes; ++l) d[l] = F::f(a[l], b[l], c[l], e[l]);
    return;
  }
  for (int l = 0; l < kLanes; ++l)
    if (active >> l & 1) d[l] = F::f(a[l], b[l], c[l], e[l]);
}

// Unsigned, so that overflow wraps.
template <class T, bool = std::is_integral_v<T> && !std::is_same_v<T, bool>>
struct Plain_ {
  using type = T;
};
template <class T>
struct Plain_<T, true> {
  using type = std::make_unsigned_t<T>;
};
template <class T>
using Plain = typename Plain_<T>::type;

#define EDT_OP(Name, expression)                                                                   \
  template <class T>                                                                               \
  struct Name {                                                                                    \
    using U = Plain<T>;                                                                            \
    static uint64_t f(uint64_t a_, uint64_t b_, uint64_t c_, uint64_t d_) {                        \
      const T a = get<T>(a_), b = get<T>(b_), c = get<T>(c_);                                      \
      (void)a, (void)b, (void)c, (void)a_, (void)b_, (void)c_, (void)d_;                           \
      return expression;                                                                           \
    }                                                                                              \
  };
EDT_OP(Mov, put<T>(a))
EDT_OP(Add, put<T>(T(U(a) + U(b))))
EDT_OP(Sub, put<T>(T(U(a) - U(b))))
EDT_OP(Mul, put<T>(T(U(a) * U(b))))
EDT_OP(Mad, put<T>(T(U(a) * U(b) + U(c))))
EDT_OP(Fma, put<T>(std::fma(a, b, c)))
EDT_OP(Neg, put<T>(T(U(0) - U(a))))
EDT_OP(NegFloat, put<T>(-a))
EDT_OP(Abs, put<T>(T(std::abs(a))))
EDT_OP(Min, put<T>(std::min(a, b)))
EDT_OP(Max, put<T>(std::max(a, b)))
EDT_OP(MinFloat, put<T>(std::fmin(a, b)))
EDT_OP(MaxFloat, put<T>(std::fmax(a, b)))
EDT_OP(Divide, put<T>(b == 0 ? T(-1) : T(a / b)))
EDT_OP(Remainder, put<T>(b == 0 ? a : T(a % b)))
EDT_OP(MinOrNan, put<T>(a != a || b != b ? T(NAN) : std::fmin(a, b)))
EDT_OP(MaxOrNan, put<T>(a != a || b != b ? T(NAN) : std::fmax(a, b)))
EDT_OP(DivideFloat, put<T>(a / b))
EDT_OP(Reciprocal, put<T>(T(1) / a))
EDT_OP(Root, put<T>(std::sqrt(a)))
EDT_OP(CopySign, put<T>(std::copysign(b, a)))
EDT_OP(And, put<T>(T(a& b)))
EDT_OP(Or, put<T>(T(a | b)))
EDT_OP(Xor, put<T>(T(a ^ b)))
EDT_OP(Not, put<T>(T(~a)))
EDT_OP(NotPredicate, put<T>(!a))
EDT_OP(Select, put<T>(get<bool>(c_) ? a : b))
EDT_OP(ShiftLeft, put<T>(get<uint32_t>(b_) >= 8 * sizeof(T) ? T(0) : T(U(a) << get<uint32_t>(b_))))
EDT_OP(ShiftRight, put<T>(get<uint32_t>(b_) >= 8 * sizeof(T) ? T(a < 0 ? T(-1) : T(0))
                                                             : T(a >> get<uint32_t>(b_))))
EDT_OP(High, put<T>(T((unsigned __int128)(a)*b >> 64)))
EDT_OP(Equal, a == b)
EDT_OP(Different, a != b)
EDT_OP(DifferentFloat, (a < b || a > b))
EDT_OP(Less, a < b)
EDT_OP(LessEqual, a <= b)
EDT_OP(Greater, a > b)
EDT_OP(GreaterEqual, a >= b)
EDT_OP(EqualOrNan, !(a < b || a > b))
EDT_OP(LessOrNan, !(a >= b))
EDT_OP(LessEqualOrNan, !(a > b))
EDT_OP(GreaterOrNan, !(a <= b))
EDT_OP(GreaterEqualOrNan, !(a < b))
EDT_OP(AnyNan, (a != a || b != b))
EDT_OP(NoNan, (a == a && b == b))
#undef EDT_OP

// 32 by 32 to 64 bits, and with a 64-bit addend.
template <class T, class W>
struct Wide {
  static uint64_t f(uint64_t a, uint64_t b, uint64_t, uint64_t) {
    return put<W>(W(get<T>(a)) * W(get<T>(b)));
  }
};
template <class T, class W>
struct MadWide {
  static uint64_t f(uint64_t a, uint64_t b, uint64_t c, uint64_t) {
    return put<uint64_t>(uint64_t(W(get<T>(a)) * W(get<T>(b))) + c);
  }
};
template <class To, class From>
struct Convert {
  static uint64_t f(uint64_t a, uint64_t, uint64_t, uint64_t) { return put<To>(To(get<From>(a))); }
};
template <class T>
struct InsertBits {
  static uint64_t f(uint64_t a, uint64_t b, uint64_t p, uint64_t n) {
    const uint32_t position = get<uint32_t>(p), length = get<uint32_t>(n);
    const T mask = T((length >= 8 * sizeof(T) ? ~T(0) : T((T(1) << length) - 1)) << position);
    return put<T>(T((get<T>(b) & ~mask) | (T(get<T>(a) << position) & mask)));
  }
};
struct Pack {
  static uint64_t f(uint64_t a, uint64_t b, uint64_t, uint64_t) { return uint32_t(a) | b << 32; }
};
struct LowHalf {
  static uint64_t f(uint64_t a, uint64_t, uint64_t, uint64_t) { return uint32_t(a); }
};
struct HighHalf {
  static uint64_t f(uint64_t a, uint64_t, uint64_t, uint64_t) { return a >> 32; }
};
// About 20 bits, as the instruction.
struct RoughReciprocal {
  static uint64_t f(uint64_t a, uint64_t, uint64_t, uint64_t) {
    return put(1.0 / get<double>(a)) & 0xffffffff00000000u;
  }
};
struct RoughReciprocalFloat {
  static uint64_t f(uint64_t a, uint64_t, uint64_t, uint64_t) {
    // A unit of the last place, as the instruction: the exact one, its last bit cleared.
    return put(1.0f / get<float>(a)) & ~uint64_t(1);
  }
};
struct ToGeneric {
  static uint64_t f(uint64_t a, uint64_t, uint64_t, uint64_t) {
    return (uint64_t(1) << 56) + uint32_t(a);
  }
};

// The place of a block's own shared memory in that of the rank given; see memory.h.
struct ToCluster {
  static uint64_t f(uint64_t a, uint64_t rank, uint64_t, uint64_t) {
    return (uint64_t(uint32_t(rank)) + 1) << 24 | uint32_t(a);
  }
};

using Table = std::unordered_map<std::string, Compute>;

template <class T>
void any(Table& t, const std::string& type) {
  t["mov." + type] = run<Mov<T>>;
  t["selp." + type] = run<Select<T>>;
  t["setp.eq." + type] = run<Equal<T>>;
}
template <class T>
void ordered(Table& t, const std::string& type) {
  any<T>(t, type);
  t["setp.lt." + type] = run<Less<T>>;
  t["setp.le." + type] = run<LessEqual<T>>;
  t["setp.gt." + type] = run<Greater<T>>;
  t["setp.ge." + type] = run<GreaterEqual<T>>;
}
template <class T>
void floats(Table& t, const std::string& type) {
  ordered<T>(t, type);
  t["add." + type] = run<Add<T>>;
  t["sub." + type] = run<Sub<T>>;
  t["mul." + type] = run<Mul<T>>;
  t["fma." + type] = run<Fma<T>>;
  t["neg." + type] = run<NegFloat<T>>;
  t["abs." + type] = run<Abs<T>>;
  t["min." + type] = run<MinFloat<T>>;
  t["max." + type] = run<MaxFloat<T>>;
  t["div." + type] = run<DivideFloat<T>>;
  t["rcp." + type] = run<Reciprocal<T>>;
  t["sqrt." + type] = run<Root<T>>;
  t["copysign." + type] = run<CopySign<T>>;
  t["setp.ne." + type] = run<DifferentFloat<T>>;
  t["setp.neu." + type] = run<Different<T>>;
  t["setp.equ." + type] = run<EqualOrNan<T>>;
  t["setp.ltu." + type] = run<LessOrNan<T>>;
  t["setp.leu." + type] = run<LessEqualOrNan<T>>;
  t["setp.gtu." + type] = run<GreaterOrNan<T>>;
  t["setp.geu." + type] = run<GreaterEqualOrNan<T>>;
  t["setp.nan." + type] = run<AnyNan<T>>;
  t["setp.num." + type] = run<NoNan<T>>;
}
template <class T>
void integers(Table& t, const std::string& type) {
  ordered<T>(t, type);
  t["add." + type] = run<Add<T>>;
  t["sub." + type] = run<Sub<T>>;
  t["mul.lo." + type] = run<Mul<T>>;
  t["mad.lo." + type] = run<Mad<T>>;
  t["neg." + type] = run<Neg<T>>;
  t["min." + type] = run<Min<T>>;
  t["max." + type] = run<Max<T>>;
  t["div." + type] = run<Divide<T>>;
  t["rem." + type] = run<Remainder<T>>;
  t["shr." + type] = run<ShiftRight<T>>;
  t["setp.ne." + type] = run<Different<T>>;
}
template <class T>
void bits(Table& t, const std::string& type) {
  any<T>(t, type);
  t["and." + type] = run<And<T>>;
  t["or." + type] = run<Or<T>>;
  t["xor." + type] = run<Xor<T>>;
  t["not." + type] = run<Not<T>>;
  t["shl." + type] = run<ShiftLeft<T>>;
  t["shr." + type] = run<ShiftRight<T>>;
  t["setp.ne." + type] = run<Different<T>>;
}
template <class To, class From>
void conversion(Table& t, const std::string& to, const std::string& from) {
  t["cvt." + to + "." + from] = run<Convert<To, From>>;
}
template <class From>
void conversions(Table& t, const std::string& from) {
  conversion<uint8_t, From>(t, "u8", from);
  conversion<int8_t, From>(t, "s8", from);
  conversion<uint16_t, From>(t, "u16", from);
  conversion<int16_t, From>(t, "s16", from);
  conversion<uint32_t, From>(t, "u32", from);
  conversion<int32_t, From>(t, "s32", from);
  conversion<uint64_t, From>(t, "u64", from);
  conversion<int64_t, From>(t, "s64", from);
  conversion<float, From>(t, "f32", from);
  conversion<double, From>(t, "f64", from);
}

Table table() {
  Table t;
  floats<float>(t, "f32");
  floats<double>(t, "f64");
  integers<int16_t>(t, "s16");
  integers<uint16_t>(t, "u16");
  integers<int32_t>(t, "s32");
  integers<uint32_t>(t, "u32");
  integers<int64_t>(t, "s64");
  integers<uint64_t>(t, "u64");
  t["min.NaN.f32"] = run<MinOrNan<float>>;
  t["max.NaN.f32"] = run<MaxOrNan<float>>;
  t["abs.s32"] = run<Abs<int32_t>>;
  t["mul.hi.u64"] = run<High<uint64_t>>;
  t["mul.wide.s32"] = run<Wide<int32_t, int64_t>>;
  t["mul.wide.u32"] = run<Wide<uint32_t, uint64_t>>;
  t["mul.wide.s16"] = run<Wide<int16_t, int32_t>>;
  t["mul.wide.u16"] = run<Wide<uint16_t, uint32_t>>;
  t["mad.wide.s32"] = run<MadWide<int32_t, int64_t>>;
  t["mad.wide.u32"] = run<MadWide<uint32_t, uint64_t>>;
  bits<uint16_t>(t, "b16");
  bits<uint32_t>(t, "b32");
  bits<uint64_t>(t, "b64");
  any<bool>(t, "pred");
  t["and.pred"] = run<And<bool>>;
  t["or.pred"] = run<Or<bool>>;
  t["xor.pred"] = run<Xor<bool>>;
  t["not.pred"] = run<NotPredicate<bool>>;
  t["bfi.b32"] = run<InsertBits<uint32_t>>;
  t["bfi.b64"] = run<InsertBits<uint64_t>>;
  t["pack.b64"] = run<Pack>;
  t["low.b64"] = run<LowHalf>;
  t["high.b64"] = run<HighHalf>;
  t["rcp.approx.f64"] = run<RoughReciprocal>;
  t["rcp.approx.f32"] = run<RoughReciprocalFloat>;
  t["cvta.shared.u64"] = run<ToGeneric>;
  t["mapa.shared::cluster.u32"] = run<ToCluster>;
  conversions<uint8_t>(t, "u8");
  conversions<int8_t>(t, "s8");
  conversions<uint16_t>(t, "u16");
  conversions<int16_t>(t, "s16");
  conversions<uint32_t>(t, "u32");
  conversions<int32_t>(t, "s32");
  conversions<uint64_t>(t, "u64");
  conversions<int64_t>(t, "s64");
  conversions<float>(t, "f32");
  conversions<double>(t, "f64");
  return t;
}

}  // namespace

Compute compute_of(const std::string& name) {
  static const Table all = table();
  const auto found = all.find(name);
  return found == all.end() ? nullptr : found->second;
}

}  // namespace ptx
