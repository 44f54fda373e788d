// Hessian of one hidden layer under squared error, f_o = c_o + sum_j v_oj sigma(w_j . X), with
// X = [1; x] and X_0 standing for the bias. The weight of a pair of neurons is separable,
//   GN[(w_ji), (w_kh)]  = (sum_o v_oj v_ok) sum_n 2c_n s_j s_k X_i X_h,   s = sigma'
//   GN[(w_ji), (v_ok)]  = v_oj sum_n 2c_n s_j X_i a_k,                    a = sigma
//   GN[(v_oj), (v_ok)]  = sum_n 2c_n a_j a_k        (a = 1 for the output's bias),
// so the outputs only scale sums that do not know them, and the rest is block diagonal in neurons:
//   R[(w_ji), (w_jh)]   = sum_n t_j X_i X_h,        t_j = sigma''_j sum_o v_oj d_o,  d = dL/df
//   R[(w_ji), (v_oj)]   = sum_n d_o s_j X_i.
//
// Two ways to form the sums over samples, whichever needs fewer operations:
//   products  X_i X_h is one of M = (D+1)(D+2)/2 monomials, shared by all pairs of neurons: per
//             neuron j the columns s_j X_i X_h against the rows s_0..s_j, and s_j X_i against the
//             rows a, 1. Per sample m(m+1)/2 M + m(D+1)(m+1) + m^2/2 multiply-adds.
//   gram      columns and rows are all of s_j X_i (trainable ones only), a, 1: the plain symmetric
//             rank-k update, P^2/2 a sample; better where masks leave few inputs a neuron.
// A block of samples stays in the second-level cache with everything that is formed from it.
#pragma once
#include "cpu/isa/hessian_contract.h"
#include "cpu/isa/passes.h"

namespace edt::EDT_ISA_NS {

template <class T>
class ShallowHessian {
  using V = Vec<T>;
  static constexpr int L = V::L;

 public:
  // Monomials are tabled for each sample of a block: wide inputs go the general way.
  static bool applies(const Net& net, Loss loss) {
    return loss == Loss::mse && net.layers.size() == 2 && n_pairs(net.d_in + 1) <= 4096;
  }

  ShallowHessian(const Net& net, const Problem<T>& pr, const Samples<T>& all, const T* p, T* out,
                 bool ggn, Scratch& ws)
      : net_(net),
        pr_(pr),
        all_(all),
        p_(p),
        out_(out),
        ggn_(ggn),
        P_(net.n_coords),
        l0_(net.layers[0]),
        l1_(net.layers[1]),
        m_(l0_.n_out),
        n1_(net.d_in + 1),
        in_w_(trainable_inputs(net, l0_)),
        b_(net, pr.act, ggn ? 1 : 2, false, false, std::min(kHessianSamples, all.n), 0, ws,
           kHessianSamples / L),
        ld_(b_.ld) {
    n_mono_ = int(n_pairs(n1_));
    ld_mono_ = padded<T>(n_mono_);
    pair_table_.resize(size_t(n1_) * n1_);
    for (int i = 0; i < n1_; ++i)
      for (int h = 0; h < n1_; ++h) pair_table_[i * n1_ + h] = pair_index(n1_, i, h);
    const bool bias = std::any_of(in_w_.input.begin(), in_w_.input.end(), [](int i) { return !i; });
    first_ = bias ? 0 : n1_;  // without biases no product with the constant is wanted
    ld_pair_ = padded<T>(n_mono_ - first_);
    n_gram_ = int(in_w_.input.size()) + m_ + 1;
    ld_gram_ = padded<T>(n_gram_);
    ld_a_ = padded<T>(m_ + 1);
    n_groups_ = (m_ + L - 1) / L;
    products_ = cost_products() < cost_gram();
    // Neurons with a bias and all weights, side by side.
    for (int j = 0; j < m_; ++j) {
      const int first = in_w_.ptr[j], count = in_w_.count(j);
      plain_.push_back(n1_ > 1 && count == n1_ && in_w_.input[first] == 0 &&
                       in_w_.coord[first + n1_ - 1] - in_w_.coord[first + 1] == n1_ - 2);
    }
    allocate(ws);
  }

  void run() {
    for (int64_t s0 = 0; s0 < all_.n; s0 += ld_) {
      in_ = slice(all_, s0, ld_);
      features();
      if (products_) contract_products();
      else contract_gram();
      if (!ggn_) contract_residual();
    }
    if (products_) write(Products{*this});
    else write(Gram{*this});
  }

 private:
  // In multiply-adds a sample; forming one entry costs as much as two (products, in whole vectors)
  // or ten (gram, one by one) of them.
  double cost_products() const {
    return double(n_pairs(m_)) * ld_pair_ + double(m_) * n1_ * (m_ + 1) + 0.5 * m_ * ld_a_ +
           2.0 * m_ * (ld_pair_ + n1_);
  }
  double cost_gram() const { return 0.5 * n_gram_ * ld_gram_ + 10.0 * n_gram_; }

  T* zeros(Scratch& ws, size_t n) {
    T* p = ws.take<T>(n);
    std::fill(p, p + n, T(0));
    return p;
  }

  void allocate(Scratch& ws) {
    const size_t n = size_t(ld_);
    mono_ = zeros(ws, n * ld_mono_);
    c2_ = ws.take<T>(n);
    rows_s_ = ws.take<T>(packed_size(m_, ld_));
    if (products_) {
      wide_ = zeros(ws, n * ld_mono_ + L);  // read from first_ on in whole vectors
      columns_ = zeros(ws, n * size_t(std::max({ld_pair_, L * n1_, ld_a_})) + L);
      rows_a_ = ws.take<T>(packed_size(m_ + 1, ld_));
      pair_ = zeros(ws, size_t(n_pairs(m_)) * ld_pair_);
      cross_ = zeros(ws, size_t(n_groups_) * (m_ + 1) * L * n1_);
      aa_ = zeros(ws, size_t(m_ + 1) * ld_a_);
    } else {
      columns_ = zeros(ws, n * ld_gram_);
      for (int j = 0; j < m_; ++j) gram_unit_.insert(gram_unit_.end(), in_w_.count(j), j);
      gram_rows_ = ws.take<T>(packed_size(ld_gram_, ld_));
      gram_ = zeros(ws, size_t(gram_panel(ld_gram_ / L)));
    }
    if (ggn_) return;
    delta_ = ws.take<T>(n * net_.d_out);
    row_ = ws.take<T>(n * m_);
    moments2_ = zeros(ws, size_t(m_) * ld_mono_);
    moments1_ = zeros(ws, size_t(net_.d_out) * m_ * padded<T>(n1_));
  }

  // Forward, the monomials of the inputs, and s, a, 1 as packed rows.
  void features() {
    forward(b_, p_, in_);
    const int64_t n = in_.n;
    for (int64_t s = 0; s < n; ++s) {
      c2_[s] = in_.coef[s] + in_.coef[s];
      mono_[s * ld_mono_] = T(1);
    }
    transpose_rows(in_.x, in_.ldx, n, n1_ - 1, mono_ + 1, ld_mono_);
    for (int64_t s = 0; s < n; ++s) {
      const T* x = mono_ + s * ld_mono_;
      T* to = mono_ + s * ld_mono_ + n1_;
      for (int i = 1; i < n1_; ++i)
        for (int h = i; h < n1_; ++h) *to++ = x[i] * x[h];
    }
    pack_rows(b_.d1[1], ld_, n, m_, rows_s_);
  }

  // Row r of packed rows: its samples are kPackRows apart.
  static EDT_INLINE T* packed_row(T* rows, int r, int64_t n) {
    return rows + r / kPackRows * kPackRows * n + r % kPackRows;
  }

  void contract_products() {
    const int64_t n = in_.n;
    for (int64_t s = 0; s < n; ++s)
      for (int q = 0; q < ld_mono_; q += L)
        (V::set1(c2_[s]) * V::load(mono_ + s * ld_mono_ + q)).store(wide_ + s * ld_mono_ + q);
    for (int j = 0; j < m_; ++j) {
      for (int q = 0; q < ld_pair_; q += L)
        scaled_columns(packed_row(rows_s_, j, n), wide_ + first_ + q, ld_mono_, n, columns_ + q,
                       ld_pair_);
      contract<true>(rows_s_, j + 1, n, columns_, ld_pair_, ld_pair_, pair_ + n_pairs(j) * ld_pair_,
                     ld_pair_);
    }
    pack_rows(b_.a[1], ld_, n, m_, rows_a_);
    T* ones = packed_row(rows_a_, m_, n);
    for (int64_t s = 0; s < n; ++s) ones[s * kPackRows] = T(1);
    const int ld = L * n1_;
    for (int g = 0; g < n_groups_; ++g) {
      cross_columns(g);
      contract<true>(rows_a_, m_ + 1, n, columns_, ld, ld, cross_ + size_t(g) * (m_ + 1) * ld, ld);
    }
    for (int k = 0; k <= m_; ++k) {
      const T* a = packed_row(rows_a_, k, n);
      for (int64_t s = 0; s < n; ++s) columns_[s * ld_a_ + k] = c2_[s] * a[s * kPackRows];
    }
    for (int k = m_ + 1; k < ld_a_; ++k)
      for (int64_t s = 0; s < n; ++s) columns_[s * ld_a_ + k] = T(0);
    for (int k = 0; k < ld_a_; k += L)
      contract<true>(rows_a_, std::min(k + L, m_ + 1), n, columns_ + k, ld_a_, L, aa_ + k, ld_a_);
  }

  // L columns times the row w. (Arguments, not members: the compiler must assume that what is
  // stored through a vector might be a member.)
  static void scaled_columns(const T* w, const T* x, int64_t ldx, int64_t n, T* to, int64_t ld) {
    for (int64_t s = 0; s < n; ++s, x += ldx, to += ld)
      (V::set1(w[s * kPackRows]) * V::loadu(x)).store(to);
  }

  // s_j X_i for the L neurons of group g, X_i fastest. Whole vectors are written in rising order;
  // what one writes too much, the next overwrites.
  void cross_columns(int g) {
    const int n_units = std::min(L, m_ - g * L);
    const int n1 = n1_, rest = (L - n_units) * n1;
    const int64_t n = in_.n, ldx = ld_mono_;
    const T *w[L], *x = wide_;
    for (int u = 0; u < n_units; ++u) w[u] = packed_row(rows_s_, g * L + u, n);
    T* to = columns_;
    for (int64_t s = 0; s < n; ++s, x += ldx) {
      for (int u = 0; u < n_units; ++u, to += n1) {
        const V ws = V::set1(w[u][s * kPackRows]);
        for (int i = 0; i < n1; i += L) (ws * V::loadu(x + i)).storeu(to + i);
      }
      for (int i = 0; i < rest; ++i) *to++ = T(0);
    }
  }

  // Panels of L columns, each with the rows up to its last column.
  static int64_t gram_panel(int t) { return int64_t(t) * (t + 1) / 2 * L * L; }

  void contract_gram() {
    const int64_t n = in_.n;
    const int n_w = int(in_w_.input.size());
    std::vector<int> start(n_w);  // of the packed row each column takes
    for (int a = 0; a < n_w; ++a) start[a] = int(packed_row(rows_s_, gram_unit_[a], n) - rows_s_);
    for (int64_t s = 0; s < n; ++s) {
      T* to = columns_ + s * ld_gram_;
      const T *x = mono_ + s * ld_mono_, *w = rows_s_ + s * kPackRows;
      for (int a = 0; a < n_w; ++a) to[a] = w[start[a]] * x[in_w_.input[a]];
      to[n_w + m_] = T(1);
    }
    transpose_rows(b_.a[1], ld_, n, m_, columns_ + n_w, ld_gram_);
    pack_columns(columns_, ld_gram_, n, ld_gram_, gram_rows_);
    for (int64_t s = 0; s < n; ++s)
      for (int q = 0; q < ld_gram_; q += L) {
        T* at = columns_ + s * ld_gram_ + q;
        (V::set1(c2_[s]) * V::load(at)).store(at);
      }
    for (int t = 0; t < ld_gram_ / L; ++t)
      contract<true>(gram_rows_, (t + 1) * L, n, columns_ + t * L, ld_gram_, L,
                     gram_ + gram_panel(t), L);
  }

  void contract_residual() {
    const int64_t n = in_.n;
    loss_block<true>(Loss::mse, b_.f, ld_, in_, net_.d_out, delta_);
    affine_backward(l1_, p_, delta_, ld_, row_, n);
    multiply_rows(row_, b_.d2[1], row_, m_, ld_, n);
    pack_rows(row_, ld_, n, m_, rows_s_);
    contract<true>(rows_s_, m_, n, mono_, ld_mono_, ld_mono_, moments2_, ld_mono_);
    const int ld1 = padded<T>(n1_);
    for (int o = 0; o < net_.d_out; ++o) {
      for (int j = 0; j < m_; ++j)
        multiply_rows(delta_ + o * ld_, b_.d1[1] + j * ld_, row_ + j * ld_, 1, ld_, n);
      pack_rows(row_, ld_, n, m_, rows_s_);
      contract<true>(rows_s_, m_, n, mono_, ld_mono_, ld1, moments1_ + size_t(o) * m_ * ld1, ld1);
    }
  }

  // Where the sums lie. ww(j, k, a): those of inputs a of neuron j and e of neuron k <= j, as a
  // function of e; square(j, k): all of them, times a weight, where that is quick; wa(j, k): those
  // of input a of neuron j and a_k (1 for k = m); aa: of a_k and a_q, k <= q.
  struct Products {
    const ShallowHessian& h;
    auto ww(int j, int k, int a) const {
      const T* c = h.pair_ + (n_pairs(j) + k) * h.ld_pair_ - h.first_;
      const int *t = h.pair_table_.data() + h.in_w_.input[a] * h.n1_, *in = h.in_w_.input.data();
      return [=](int e) { return c[t[in[e]]]; };
    }
    bool square(int j, int k, T weight, T* to) const {
      if (!h.plain_[j] || !h.plain_[k]) return false;
      const T* c = h.pair_ + (n_pairs(j) + k) * h.ld_pair_;
      const int *t = h.pair_table_.data(), n = h.n1_ * h.n1_;
      for (int i = 0; i < n; ++i) to[i] = weight * c[t[i]];
      return true;
    }
    auto wa(int j, int k) const {
      const int64_t row = int64_t(j / L) * (h.m_ + 1) + k;
      const T* c = h.cross_ + (row * L + j % L) * h.n1_;
      return [c, in = h.in_w_.input.data()](int a) { return c[in[a]]; };
    }
    T aa(int k, int q) const { return h.aa_[k * h.ld_a_ + q]; }
  };
  struct Gram {
    const ShallowHessian& h;
    T at(int p, int q) const { return h.gram_[gram_panel(q / L) + p * L + q % L]; }
    auto ww(int, int, int a) const {
      const T* c = h.gram_ + gram_panel(a / L) + a % L;
      return [=](int e) { return c[e * L]; };
    }
    bool square(int, int, T, T*) const { return false; }
    auto wa(int, int k) const {
      const int q = int(h.in_w_.input.size()) + k;
      const T* c = h.gram_ + gram_panel(q / L) + q % L;
      return [=](int a) { return c[a * L]; };
    }
    T aa(int k, int q) const {
      const int first = int(h.in_w_.input.size());
      return at(first + k, first + q);
    }
  };

  // The square of the inputs of two neurons (all of them, the bias first) in the rows of the first.
  void put_square(int j, int k, const T* square) {
    const int *from = in_w_.coord.data() + in_w_.ptr[j], *to = in_w_.coord.data() + in_w_.ptr[k];
    const int at_bias = to[0], at = to[1], n = n1_ - 1;
    for (int i = 0; i <= n; ++i, square += n1_) {
      T* row = out_ + int64_t(from[i]) * P_;
      row[at_bias] = square[0];
      for (int h = 0; h < n; ++h) row[at + h] = square[1 + h];
    }
  }

  template <class Sums>
  void write(const Sums& sums) {
    const int d_out = net_.d_out, ld1 = padded<T>(n1_);
    const int *in = in_w_.input.data(), *coord = in_w_.coord.data();
    auto put = [out = out_, n = P_](int64_t p, int64_t q, T h) {
      out[p * n + q] = out[q * n + p] = h;
    };
    // weight and coordinate of neuron k's edge to output o, and the output's bias as neuron m
    std::vector<T> v(size_t(d_out) * m_, T(0));
    std::vector<int> edge(size_t(d_out) * (m_ + 1), -1);
    for (int o = 0; o < d_out; ++o) {
      for (int e = l1_.row_ptr[o]; e < l1_.row_ptr[o + 1]; ++e) {
        const int param = l1_.row_start[o] + e - l1_.row_ptr[o];
        v[o * m_ + l1_.col[e]] = p_[param];
        edge[o * (m_ + 1) + l1_.col[e]] = net_.coord[param];
      }
      if (l1_.bias[o] >= 0) edge[o * (m_ + 1) + m_] = net_.coord[l1_.bias[o]];
    }
    std::vector<T> square(size_t(n1_) * n1_);
    for (int j = 0; j < m_; ++j) {
      for (int k = 0; k <= j; ++k) {
        T weight = 0;
        for (int o = 0; o < d_out; ++o) weight += v[o * m_ + j] * v[o * m_ + k];
        if (k < j && sums.square(j, k, weight, square.data())) {
          put_square(j, k, square.data());
          put_square(k, j, square.data());
          continue;
        }
        for (int a = in_w_.ptr[j]; a < in_w_.ptr[j + 1]; ++a) {
          const auto sum = sums.ww(j, k, a);
          const int end = k == j ? a + 1 : in_w_.ptr[k + 1];
          for (int e = in_w_.ptr[k]; e < end; ++e) put(coord[a], coord[e], weight * sum(e));
        }
      }
      if (ggn_) continue;
      for (int a = in_w_.ptr[j]; a < in_w_.ptr[j + 1]; ++a)
        for (int e = in_w_.ptr[j]; e < in_w_.ptr[j + 1]; ++e)
          out_[coord[a] * P_ + coord[e]] +=
              moments2_[j * ld_mono_ + pair_table_[in[a] * n1_ + in[e]]];
    }
    // In the order in which the sums of products lie.
    for (int o = 0; o < d_out; ++o)
      for (int j0 = 0; j0 < m_; j0 += L)
        for (int k = 0; k <= m_; ++k) {
          const int q = edge[o * (m_ + 1) + k];
          if (q < 0) continue;
          for (int j = j0; j < std::min(j0 + L, m_); ++j) {
            const auto sum = sums.wa(j, k);
            const T w = v[o * m_ + j], *r = moments1_ + (o * m_ + j) * ld1;
            if (k == j && !ggn_)
              for (int a = in_w_.ptr[j]; a < in_w_.ptr[j + 1]; ++a)
                put(coord[a], q, w * sum(a) + r[in[a]]);
            else
              for (int a = in_w_.ptr[j]; a < in_w_.ptr[j + 1]; ++a) put(coord[a], q, w * sum(a));
          }
        }
    for (int o = 0; o < d_out; ++o)
      for (int k = 0; k <= m_; ++k)
        for (int q = k; q <= m_; ++q) {
          const int c1 = edge[o * (m_ + 1) + k], c2 = edge[o * (m_ + 1) + q];
          if (c1 >= 0 && c2 >= 0) put(c1, c2, sums.aa(k, q));
        }
  }

  const Net& net_;
  const Problem<T>& pr_;
  const Samples<T> all_;
  const T* p_;
  T* out_;
  bool ggn_, products_ = false;
  int64_t P_;
  const Layer &l0_, &l1_;
  int m_, n1_;
  UnitInputs in_w_;
  std::vector<int> gram_unit_, pair_table_;  // neuron of a column; monomial of X_i X_h
  std::vector<uint8_t> plain_;
  Block<T> b_;
  int64_t ld_;
  Samples<T> in_{};
  int n_mono_, ld_mono_, first_, ld_pair_, n_gram_, ld_gram_, ld_a_, n_groups_;
  // per sample: monomials of X (those with the constant first), times 2c, columns of a contraction
  T *mono_, *c2_, *wide_ = nullptr, *columns_;
  T *rows_s_, *rows_a_ = nullptr, *gram_rows_ = nullptr;                    // packed rows
  T *pair_ = nullptr, *cross_ = nullptr, *aa_ = nullptr, *gram_ = nullptr;  // sums
  T *delta_ = nullptr, *row_ = nullptr, *moments2_ = nullptr, *moments1_ = nullptr;
};

}  // namespace edt::EDT_ISA_NS
