// Hessian- and Gauss-Newton-vector products, K vectors per network in one pass.
//
// Forward and backward run once per sample block and serve all K vectors. Per vector v the
// R-operator (Pearlmutter 1994) gives, layer by layer,
//   Rz = V a + W Ra,  Ra = s' Rz,  Rd_out = l'' Rf,
//   Rd = s' (W^T Rd_next + V^T d_next) + s'' dA Rz,   out = Rd a^T + d Ra^T;
// the Gauss-Newton product drops the terms in d.
//
// Narrow scalar-output networks take a cheaper road: the Gauss-Newton part is J^T (l'' (J v)) on
// register tiles of vectors, and the rest is block diagonal over neurons, so its moments
// sum_n e w_out s'' x x^T and sum_n e s' x are formed once and shared by all K vectors.
#pragma once
#include "cpu/isa/passes.h"

namespace edt::EDT_ISA_NS {

template <class T>
void hvp_general(const Net& net, const Problem<T>& pr, const Samples<T>& all, const T* p, int n_vec,
                 T* const* v, T* const* g, bool ggn, Scratch& ws) {
  using V = Vec<T>;
  const Loss kind = pr.data->loss;
  const int n_layers = int(net.layers.size());
  int widest = net.d_out;
  for (const Layer& ly : net.layers) widest = std::max(widest, ly.n_out);
  Block<T> b(net, pr.act, 2, true, true, all.n, 2 * net.n_hidden + widest * 2 + 2 * net.d_out, ws);
  const int64_t ld = b.ld;
  std::vector<T*> rz(n_layers + 1), ra(n_layers + 1);
  for (int l = 1; l < n_layers; ++l) {
    rz[l] = ws.take<T>(size_t(net.layers[l].n_in) * ld);
    ra[l] = ws.take<T>(size_t(net.layers[l].n_in) * ld);
  }
  rz[n_layers] = ws.take<T>(size_t(net.d_out) * ld);
  T* prob = ws.take<T>(size_t(net.d_out) * ld);
  T* rd[2] = {ws.take<T>(size_t(widest) * ld), ws.take<T>(size_t(widest) * ld)};

  for (int64_t s0 = 0; s0 < all.n; s0 += ld) {
    const Samples<T> in = slice(all, s0, ld);
    forward(b, p, in);
    loss_block<true>(kind, b.f, ld, in, net.d_out, b.delta[n_layers]);
    curvature_rows(kind, b.f, ld, in, net.d_out, prob);
    if (!ggn) backward(b, p, in, static_cast<T*>(nullptr));
    for (int k = 0; k < n_vec; ++k) {
      for (int l = 0; l < n_layers; ++l) {
        const Layer& ly = net.layers[l];
        affine_forward(ly, v[k], l ? b.a[l] : in.x, l ? ld : in.ldx, rz[l + 1], ld, in.n);
        if (l) affine_forward<true>(ly, p, ra[l], ld, rz[l + 1], ld, in.n, false);
        if (l + 1 < n_layers) multiply_rows(b.d1[l + 1], rz[l + 1], ra[l + 1], ly.n_out, ld, in.n);
      }
      T *cur = rd[0], *next = rd[1];
      loss_curvature(kind, in, prob, rz[n_layers], ld, net.d_out, cur);
      for (int l = n_layers - 1; l >= 0; --l) {
        const Layer& ly = net.layers[l];
        affine_gradient(ly, cur, ld, l ? b.a[l] : in.x, l ? ld : in.ldx, in.n, g[k]);
        if (l == 0) break;
        if (!ggn) affine_gradient(ly, b.delta[l + 1], ld, ra[l], ld, in.n, g[k], false);
        affine_backward(ly, p, cur, ld, next, in.n);
        if (!ggn) affine_backward<true>(ly, v[k], b.delta[l + 1], ld, next, in.n);
        for (int j = 0; j < ly.n_in; ++j)
          for (int64_t s = 0; s < in.n; s += V::L) {
            const int64_t at = j * ld + s;
            V r = V::load(next + at) * V::load(b.d1[l] + at);
            if (!ggn)
              r = fma(V::load(b.da[l] + at) * V::load(b.d2[l] + at), V::load(rz[l] + at), r);
            r.store(next + at);
          }
        std::swap(cur, next);
      }
    }
  }
}

// One neuron of a narrow network with NI inputs and output weight c, one group of KG vectors.
// tangent: rf[k] += c (v_w . x + v_b) s + v_out a;
// adjoint: out_w += c sum q s x, out_b = c sum q s, out_out = sum q a.
template <int NI, int KG, class T>
struct NarrowTangent {
  using V = Vec<T>;
  static EDT_INLINE void tangent(T scale, const T* s, const T* a, const T* x, int64_t ldx,
                                 const int* col, const T* const* vw, const T* vb, const T* vo,
                                 T* rf, int64_t ld, int64_t n) {
    const T* xr[NI + 1];
#pragma GCC unroll 8
    for (int i = 0; i < NI; ++i) xr[i] = x + col[i] * ldx;
    // Out of the loop by hand: for all the compiler knows, a store might change them.
    V w[KG][NI + 1], c[KG], o[KG];
#pragma GCC unroll 8
    for (int k = 0; k < KG; ++k) {
      c[k] = V::set1(scale * vb[k]);
      o[k] = V::set1(vo[k]);
#pragma GCC unroll 8
      for (int i = 0; i < NI; ++i) w[k][i] = V::set1(scale * vw[k][i]);
    }
    for (int64_t t = 0; t < n; t += V::L) {
      const V sv = V::load(s + t), av = V::load(a + t);
      V xv[NI + 1];
#pragma GCC unroll 8
      for (int i = 0; i < NI; ++i) xv[i] = V::load(xr[i] + t);
#pragma GCC unroll 8
      for (int k = 0; k < KG; ++k) {
        V z = c[k];
#pragma GCC unroll 8
        for (int i = 0; i < NI; ++i) z = fma(w[k][i], xv[i], z);
        V r = V::load(rf + k * ld + t);
        r = fma(z, sv, r);
        fma(o[k], av, r).store(rf + k * ld + t);
      }
    }
  }
  // One native register of each virtual vector at a time, and as many vectors as stay in registers.
  static EDT_INLINE void adjoint(T scale, const T* s, const T* a, const T* x, int64_t ldx,
                                 const int* col, const T* q, int64_t ld, int64_t n, T* const* gw,
                                 T* gb, T* go) {
    constexpr int G = std::min(KG, kNativeRegisters / 8), whole = KG / G * G;
#pragma GCC unroll 1
    for (int k = 0; k < whole; k += G)
      adjoint_of<G>(scale, s, a, x, ldx, col, q + k * ld, ld, n, gw + k, gb + k, go + k);
    if constexpr (KG % G)
      adjoint_of<KG % G>(scale, s, a, x, ldx, col, q + whole * ld, ld, n, gw + whole, gb + whole,
                         go + whole);
  }

  template <int G>
  static EDT_INLINE void adjoint_of(T scale, const T* s, const T* a, const T* x, int64_t ldx,
                                    const int* col, const T* q, int64_t ld, int64_t n, T* const* gw,
                                    T* gb, T* go) {
    using R = Vec<T, 1>;
    V sw[G][NI + 1], sb[G], so[G];
#pragma GCC unroll 1
    for (int p = 0; p < kParts; ++p) {
      const int64_t at = p * R::L;
      const T* xr[NI + 1];
      R aw[G][NI + 1], ab[G], ao[G];
#pragma GCC unroll 8
      for (int i = 0; i < NI; ++i) xr[i] = x + col[i] * ldx;
#pragma GCC unroll 8
      for (int k = 0; k < G; ++k) {
        ab[k] = ao[k] = R::zero();
#pragma GCC unroll 8
        for (int i = 0; i < NI; ++i) aw[k][i] = R::zero();
      }
      for (int64_t t = at; t < n; t += V::L) {
        const R sv = R::load(s + t), av = R::load(a + t);
        R xv[NI + 1];
#pragma GCC unroll 8
        for (int i = 0; i < NI; ++i) xv[i] = R::load(xr[i] + t);
#pragma GCC unroll 8
        for (int k = 0; k < G; ++k) {
          const R qk = R::load(q + k * ld + t);
          const R u = qk * sv;
          ab[k] = ab[k] + u;
          ao[k] = fma(qk, av, ao[k]);
#pragma GCC unroll 8
          for (int i = 0; i < NI; ++i) aw[k][i] = fma(u, xv[i], aw[k][i]);
        }
      }
#pragma GCC unroll 8
      for (int k = 0; k < G; ++k) {
        sb[k].v[p] = ab[k].v[0];
        so[k].v[p] = ao[k].v[0];
#pragma GCC unroll 8
        for (int i = 0; i < NI; ++i) sw[k][i].v[p] = aw[k][i].v[0];
      }
    }
#pragma GCC unroll 8
    for (int k = 0; k < G; ++k) {
      gb[k] = scale * hsum(sb[k]);
      go[k] = hsum(so[k]);
#pragma GCC unroll 8
      for (int i = 0; i < NI; ++i) gw[k][i] += scale * hsum(sw[k][i]);
    }
  }
};

constexpr int kVecGroup = 4;  // vectors a register tile serves
constexpr int kVecRows = 8;   // vectors served before a neuron's rows leave the first-level cache

template <int NI, class T>
void narrow_hvp_neuron(const Layer& l0, int j, int out, T scale, const T* s, const T* a,
                       const Samples<T>& in, T* const* v, T* const* g, T* rf, int64_t ld,
                       bool adjoint, int n_group) {
  const int* col = l0.col.data() + l0.row_ptr[j];
  const T* vw[kVecGroup];
  T* gw[kVecGroup];
  T vb[kVecGroup], vo[kVecGroup], gb[kVecGroup], go[kVecGroup];
  for (int k = 0; k < n_group; ++k) {
    vw[k] = v[k] + l0.row_start[j];
    gw[k] = g[k] + l0.row_start[j];
    vb[k] = l0.bias[j] >= 0 ? v[k][l0.bias[j]] : T(0);
    vo[k] = v[k][out];
  }
  auto run = [&](auto kg) {
    using N = NarrowTangent<NI, decltype(kg)::value, T>;
    if (adjoint) N::adjoint(scale, s, a, in.x, in.ldx, col, rf, ld, in.n, gw, gb, go);
    else N::tangent(scale, s, a, in.x, in.ldx, col, vw, vb, vo, rf, ld, in.n);
  };
  switch (n_group) {
    case 1:
      run(std::integral_constant<int, 1>{});
      break;
    case 2:
      run(std::integral_constant<int, 2>{});
      break;
    case 3:
      run(std::integral_constant<int, 3>{});
      break;
    default:
      run(std::integral_constant<int, 4>{});
      break;
  }
  if (adjoint)
    for (int k = 0; k < n_group; ++k) {
      if (l0.bias[j] >= 0) g[k][l0.bias[j]] += gb[k];
      g[k][out] += go[k];
    }
}

// Moments of the residual part for one neuron: m2[p, q] = sum e s'' x_p x_q, m1[p] = sum e s' x_p,
// with the constant 1 as the last input.
template <int NI, class T>
void narrow_moments(const T* e, const T* d1, const T* d2, const Samples<T>& in, const int* col,
                    T* m2, T* m1) {
  using V = Vec<T>;
  using R = Vec<T, 1>;
  V s2[(NI + 1) * (NI + 2) / 2], s1[NI + 1];
#pragma GCC unroll 1
  for (int p = 0; p < kParts; ++p) {
    R a2[(NI + 1) * (NI + 2) / 2], a1[NI + 1];
    for (auto& a : a2) a = R::zero();
    for (auto& a : a1) a = R::zero();
    for (int64_t t = p * R::L; t < in.n; t += V::L) {
      R x[NI + 1];
#pragma GCC unroll 16
      for (int i = 0; i < NI; ++i) x[i] = R::load(in.x + col[i] * in.ldx + t);
      const R ev = R::load(e + t), b = ev * R::load(d2 + t), d = ev * R::load(d1 + t);
      int at = 0;
#pragma GCC unroll 16
      for (int i = 0; i < NI; ++i) {
        const R bx = b * x[i];
        a1[i] = fma(d, x[i], a1[i]);
#pragma GCC unroll 16
        for (int h = i; h < NI; ++h, ++at) a2[at] = fma(bx, x[h], a2[at]);
        a2[at] = a2[at] + bx;
        ++at;
      }
      a2[at] = a2[at] + b;
      a1[NI] = a1[NI] + d;
    }
#pragma GCC unroll 64
    for (int i = 0; i < (NI + 1) * (NI + 2) / 2; ++i) s2[i].v[p] = a2[i].v[0];
#pragma GCC unroll 16
    for (int i = 0; i <= NI; ++i) s1[i].v[p] = a1[i].v[0];
  }
  int at = 0;
  for (int i = 0; i <= NI; ++i) {
    m1[i] += hsum(s1[i]);
    for (int h = i; h <= NI; ++h, ++at) m2[at] += hsum(s2[at]);
  }
}

// Adds one neuron's residual part, with the output weight c: input weights lie at `first`, the bias
// at `bias` (or is absent: -1), the output weight at `out`.
template <int NI, class T>
void apply_moments(const T* m2, const T* m1, T c, int first, int bias, int out, int n_vec,
                   T* const* v, T* const* g) {
  T square[NI + 1][NI + 1];
  for (int i = 0; i <= NI; ++i)
    for (int h = i; h <= NI; ++h) square[i][h] = square[h][i] = c * *m2++;
  for (int k = 0; k < n_vec; ++k) {
    T from[NI + 1], to[NI + 1], sum = T(0);
    for (int i = 0; i < NI; ++i) from[i] = v[k][first + i];
    from[NI] = bias >= 0 ? v[k][bias] : T(0);
    const T weight = v[k][out];
#pragma GCC unroll 16
    for (int i = 0; i <= NI; ++i) {
      to[i] = m1[i] * weight;
#pragma GCC unroll 16
      for (int h = 0; h <= NI; ++h) to[i] += square[i][h] * from[h];
      sum += m1[i] * from[i];
    }
    for (int i = 0; i < NI; ++i) g[k][first + i] += to[i];
    if (bias >= 0) g[k][bias] += to[NI];
    g[k][out] += sum;
  }
}

template <class T>
void hvp_narrow(const Net& net, const Problem<T>& pr, const Samples<T>& all, const T* p, int n_vec,
                T* const* v, T* const* g, bool ggn, Scratch& ws) {
  using V = Vec<T>;
  const Layer &l0 = net.layers[0], &l1 = net.layers[1];
  const Loss kind = pr.data->loss;
  const bool scalar = kind != Loss::mse && !is_softmax(kind);
  Block<T> b(net, pr.act, ggn ? 1 : 2, false, false, all.n, 3 + kVecRows + int(scalar), ws);
  const int64_t ld = b.ld;
  constexpr int kMoments = (kNarrowInputs + 1) * (kNarrowInputs + 2) / 2;
  T* e = ws.take<T>(ld);
  T* curved = scalar ? ws.take<T>(ld) : nullptr;
  T* rf = ws.take<T>(kVecRows * ld);
  const size_t h = size_t(l0.n_out);
  T* m2 = ws.take<T>(h * kMoments);
  T* m1 = ws.take<T>(h * (kNarrowInputs + 1));
  std::fill(m2, m2 + h * kMoments, T(0));
  std::fill(m1, m1 + h * (kNarrowInputs + 1), T(0));
  auto n_in = [&](int j) { return l0.row_ptr[j + 1] - l0.row_ptr[j]; };

  for (int64_t s0 = 0; s0 < all.n; s0 += ld) {
    const Samples<T> in = slice(all, s0, ld);
    forward(b, p, in);
    loss_block<true>(kind, b.f, ld, in, 1, e);
    if (scalar) curvature_rows(kind, b.f, ld, in, 1, curved);
    for (int j = 0; !ggn && j < l0.n_out; ++j) {
      const T *d1 = b.d1[1] + j * ld, *d2 = b.d2[1] + j * ld;
      const int* col = l0.col.data() + l0.row_ptr[j];
#define EDT_CALL(NI)                                                                               \
  narrow_moments<NI>(e, d1, d2, in, col, m2 + j * kMoments, m1 + j * (kNarrowInputs + 1))
      EDT_INPUTS(n_in(j), EDT_CALL)
#undef EDT_CALL
    }
    for (int k0 = 0; k0 < n_vec; k0 += kVecRows) {
      const int kg = std::min(kVecRows, n_vec - k0);
      for (int k = 0; k < kg; ++k) {
        const V b0 = V::set1(l1.bias[0] >= 0 ? v[k0 + k][l1.bias[0]] : T(0));
        for (int64_t t = 0; t < in.n; t += V::L) b0.store(rf + k * ld + t);
      }
      for (int pass = 0; pass < 2; ++pass) {
        for (int j = 0; j < l0.n_out; ++j) {
          for (int k = 0; k < kg; k += kVecGroup) {
            const int group = std::min(kVecGroup, kg - k);
#define EDT_CALL(NI)                                                                               \
  narrow_hvp_neuron<NI>(l0, j, l1.row_start[0] + j, p[l1.row_start[0] + j], b.d1[1] + j * ld,      \
                        b.a[1] + j * ld, in, v + k0 + k, g + k0 + k, rf + k * ld, ld, pass == 1,   \
                        group)
            EDT_INPUTS(n_in(j), EDT_CALL)
#undef EDT_CALL
          }
        }
        if (pass == 0) {
          for (int k = 0; k < kg; ++k)
            for (int64_t t = 0; t < in.n; t += V::L) {
              const V c = V::load(in.coef + t);
              // one class: the softmax is constant
              const V bend = scalar              ? c * V::load(curved + t)
                             : kind == Loss::mse ? c + c
                                                 : V::zero();
              (bend * V::load(rf + k * ld + t)).store(rf + k * ld + t);
            }
        } else if (l1.bias[0] >= 0) {
          for (int k = 0; k < kg; ++k) g[k0 + k][l1.bias[0]] += row_sum(rf + k * ld, in.n);
        }
      }
    }
  }
  if (ggn) return;
  for (int j = 0; j < l0.n_out; ++j) {
    const int out = l1.row_start[0] + j;
#define EDT_CALL(NI)                                                                               \
  apply_moments<NI>(m2 + j * kMoments, m1 + j * (kNarrowInputs + 1), p[out], l0.row_start[j],      \
                    l0.bias[j], out, n_vec, v, g)
    EDT_INPUTS(n_in(j), EDT_CALL)
#undef EDT_CALL
  }
}

template <class T>
void hvp_at(const Net& net, const Problem<T>& pr, const T* theta, int n_vec, const T* v, T* out,
            int64_t stride, bool ggn, Crew& crew) {
  Scratch& ws = crew.scratch;
  const Scratch::Hold hold{ws};
  const T* p = compress(net, theta, ws);
  const int64_t n = net.n_params();
  std::vector<T*> vs(n_vec);
  for (int k = 0; k < n_vec; ++k) {
    vs[k] = compress(net, v + k * stride, ws);
    for (int i : net.fixed) vs[k][i] = T(0);
  }
  T* sums = ws.take<T>(size_t(n_vec * n));
  const auto part = [&](int64_t, const Samples<T>& in, T* to, Scratch& own) {
    std::vector<T*> gs(n_vec);
    for (int k = 0; k < n_vec; ++k) gs[k] = to + k * n;
    if (is_narrow(net)) hvp_narrow(net, pr, in, p, n_vec, vs.data(), gs.data(), ggn, own);
    else hvp_general(net, pr, in, p, n_vec, vs.data(), gs.data(), ggn, own);
  };
  sum_chunks(net, samples_of(pr), sums, n_vec * n, crew, part);
  for (int k = 0; k < n_vec; ++k) expand(net, sums + k * n, out + k * stride);
}

template <class T>
void hvp(const Net& net, const Problem<T>& pr, const T* theta, int n_vec, const T* v, T* out,
         int64_t stride, bool ggn, Crew& crew) {
  crew.scratch.reset();
  hvp_at(net, pr, theta, n_vec, v, out, stride, ggn, crew);
}

}  // namespace edt::EDT_ISA_NS
