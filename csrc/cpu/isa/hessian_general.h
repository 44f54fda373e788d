// Hessian of any network and loss. The parameters of one unit share their derivatives: with z_j a
// pre-activation of layer l and x^l = [1; a^{l-1}] that layer's inputs, dz_j / dw_ji = x_i. So one
// R-pass (Pearlmutter 1994) a unit and sample, in the direction z_j, replaces one a parameter:
//   Ra^l = s' e_j,  Rz^m = W Ra^{m-1},  Ra^m = s' Rz^m,  Rd^out = l'' Rf,
//   Rd^m = s' W^T Rd^{m+1} + s'' (dL/da^m) Rz^m,
// and for every unit k of a layer m >= l, with d = dL/dz,
//   H[(l,j,i), (m,k,h)] = sum_n x^l_i (Rd^m_k x^m_h + d^m_k Rx^m_h).
// The Gauss-Newton matrix drops the terms in d and s''. The curvature of the loss enters once a
// unit, so the cost does not grow with the number of outputs.
//
// The sum over samples is formed for one unit j and one layer m at a time, in one of two ways:
//   products  rows Rd_k against columns x_i x_h, which all units of the two layers share; rows Rx_h
//             against columns d_k x_i, or, one layer up, rows s'_j d_k against columns x_i;
//   edges     rows (k, h), one a weight of layer m, against the inputs x_i of unit j.
// Products need the fewest operations where inputs are few; edges follow masks. With P_l parameters
// in layer l either takes P_l P_m fused multiply-adds a sample (half of it for l = m).
#pragma once
#include "cpu/isa/hessian_contract.h"
#include "cpu/isa/hvp.h"

namespace edt::EDT_ISA_NS {

template <class T>
class GeneralHessian {
  using V = Vec<T>;

 public:
  GeneralHessian(const Net& net, const Problem<T>& pr, const Samples<T>& all, const T* p, T* out,
                 bool ggn, Scratch& ws)
      : net_(net),
        pr_(pr),
        all_(all),
        p_(p),
        out_(out),
        ggn_(ggn),
        P_(net.n_coords),
        n_layers_(int(net.layers.size())),
        ws_(ws),
        b_(net, pr.act, 2, false, false, std::min(kHessianSamples, all.n), 0, ws,
           kHessianSamples / V::L),
        ld_(b_.ld) {
    const int n = n_layers_;
    ra_.resize(n + 1);
    rd_ = delta_ = da_ = ra_;
    inputs_.reserve(n);
    xt_.resize(n);
    int widest = net.d_out;
    for (int l = 0; l < n; ++l) {
      const Layer& ly = net.layers[l];
      inputs_.push_back(trainable_inputs(net, ly));
      widest = std::max({widest, ly.n_out, ly.n_in});
      delta_[l + 1] = rows(ly.n_out);
      rd_[l + 1] = rows(ly.n_out);
      rz_.push_back(rows(ly.n_out));
      if (l > 0) {
        ra_[l] = rows(ly.n_in);
        da_[l] = rows(ly.n_in);
      }
      xt_[l] = ws.take<T>(size_t(ld_) * padded<T>(ly.n_in + 1));
    }
    prob_ = rows(net.d_out);
    row_ = rows(std::max(widest, kPackRows));
    pack_ = ws.take<T>(packed_size(widest, ld_));
    choose();
  }

  void run() {
    for (int64_t s0 = 0; s0 < all_.n; s0 += ld_) {
      in_ = slice(all_, s0, ld_);
      first_order();
      columns();
      for (int l = 0; l < n_layers_; ++l)
        for (int j = 0; j < net_.layers[l].n_out; ++j)
          if (inputs_[l].count(j)) unit(l, j);
    }
    symmetrise(out_, P_);
  }

 private:
  // How the block of layers l <= m is formed, and the columns of its samples.
  struct Pair {
    bool products = false;
    int cols = 0, far_cols = 0;
    T *b = nullptr, *far = nullptr;
  };

  T* rows(int n) { return ws_.take<T>(size_t(n) * ld_); }
  // Padding columns are contracted too; zeros keep them from slow or invalid arithmetic.
  T* zeros(size_t n) {
    T* p = ws_.take<T>(n);
    std::fill(p, p + n, T(0));
    return p;
  }
  int n_x(int l) const { return net_.layers[l].n_in + 1; }
  Pair& pair(int l, int m) { return pairs_[size_t(l) * n_layers_ + m]; }

  // A tile of few rows waits for its own sums: it takes as long as one of four.
  static double tile_cost(int rows) {
    const int rest = rows % kPackRows;
    return rows - rest + (rest ? std::max(rest, 4) : 0);
  }

  // Cost in contracted vectors a sample; forming and packing one entry of a row costs about as much
  // as one vector. Columns of products must also fit the caches of a core or two.
  void choose() {
    constexpr double kPack = 1.0, kForm = 1.5;
    constexpr double kMaxBytes = 8 << 20;
    pairs_.resize(size_t(n_layers_) * n_layers_);
    int out_rows = kPackRows, out_cols = V::L;
    for (int l = 0; l < n_layers_; ++l) {
      for (int m = l; m < n_layers_; ++m) {
        const Layer& up = net_.layers[m];
        const double cols = l == m ? double(n_pairs(n_x(l))) : double(n_x(l)) * n_x(m);
        const double far = m > l + 1 && !ggn_ ? double(n_x(l)) * up.n_out : 0;
        const double half = l == m ? 0.5 : 1;
        double by_products = 2 * (cols + far) / V::L;
        for (int j = 0; j < net_.layers[l].n_out; ++j) {
          const int n_rows = up.n_out - (l == m ? j : 0);
          by_products += tile_cost(n_rows) * cols / V::L + kPack * n_rows;
          if (far > 0) by_products += tile_cost(up.n_in) * far / V::L + kPack * up.n_in;
          if (m != l + 1 || ggn_) continue;
          const int edges = up.t_ptr[j + 1] - up.t_ptr[j];
          by_products += tile_cost(edges) * n_x(l) / V::L + kForm * edges;
        }
        double by_edges = 0;
        for (int j = 0; j < net_.layers[l].n_out; ++j)
          by_edges += half * double(inputs_[m].input.size()) *
                      (padded<T>(inputs_[l].count(j)) / V::L + kForm);
        Pair& pr = pair(l, m);
        pr.products = by_products < by_edges && (cols + far) * ld_ * sizeof(T) < kMaxBytes;
        if (pr.products) {
          pr.cols = padded<T>(int(cols));
          pr.far_cols = padded<T>(int(far));
          pr.b = zeros(size_t(pr.cols) * ld_);
          if (far > 0) pr.far = zeros(size_t(pr.far_cols) * ld_);
          out_rows = std::max({out_rows, up.n_out, up.n_in});
          out_cols = std::max({out_cols, pr.cols, pr.far_cols});
        }
        out_cols = std::max(out_cols, padded<T>(n_x(l)));
      }
    }
    c_ = ws_.take<T>(size_t(out_rows) * out_cols);
    int most = 0;
    for (int l = 0; l < n_layers_; ++l) most = std::max(most, padded<T>(n_x(l)));
    square_ = ws_.take<T>(size_t(most) * most);
    gathered_ = ws_.take<T>(size_t(most) * ld_);
  }

  void first_order() {
    const int n = n_layers_;
    forward(b_, p_, in_);
    loss_block<true>(pr_.data->loss, b_.f, ld_, in_, net_.d_out, delta_[n]);
    curvature_rows(pr_.data->loss, b_.f, ld_, in_, net_.d_out, prob_);
    for (int l = n - 1; l > 0 && !ggn_; --l) {
      affine_backward(net_.layers[l], p_, delta_[l + 1], ld_, da_[l], in_.n);
      multiply_rows(da_[l], b_.d1[l], delta_[l], net_.layers[l].n_in, ld_, in_.n);
    }
  }

  const T* input_rows(int l) const { return l ? b_.a[l] : in_.x; }
  int64_t input_ld(int l) const { return l ? ld_ : in_.ldx; }

  // Inputs of every layer sample by sample, and the products that units share.
  void columns() {
    for (int l = 0; l < n_layers_; ++l) {
      const int ldx = padded<T>(n_x(l));
      for (int64_t s = 0; s < in_.n; ++s) {
        xt_[l][s * ldx] = T(1);
        for (int c = n_x(l); c < ldx; ++c) xt_[l][s * ldx + c] = T(0);
      }
      transpose_rows(input_rows(l), input_ld(l), in_.n, n_x(l) - 1, xt_[l] + 1, ldx);
    }
    for (int l = 0; l < n_layers_; ++l)
      for (int m = l; m < n_layers_; ++m) {
        const Pair& pr = pair(l, m);
        if (!pr.products) continue;
        const int nl = n_x(l), nm = n_x(m), ldl = padded<T>(nl), ldm = padded<T>(nm);
        for (int64_t s = 0; s < in_.n; ++s) {
          const T *xl = xt_[l] + s * ldl, *xm = xt_[m] + s * ldm;
          T* to = pr.b + s * pr.cols;
          for (int i = 0; i < nl; ++i) {
            const int h0 = l == m ? i : 0;
            scaled_run(xl[i], xm + h0, nm - h0, to);
            to += nm - h0;
          }
          if (!pr.far) continue;
          to = pr.far + s * pr.far_cols;
          for (int k = 0; k < net_.layers[m].n_out; ++k, to += nl)
            scaled_run(delta_[m + 1][k * ld_ + s], xl, nl, to);
        }
      }
  }

  static EDT_INLINE void scaled_run(T w, const T* x, int n, T* to) {
    for (int i = 0; i < n; ++i) to[i] = w * x[i];
  }

  void unit(int l, int j) {
    const int n = n_layers_;
    const int64_t ld = ld_, len = in_.n;
    // forward: Rz and Ra above layer l
    if (l + 1 < n) {
      const Layer& up = net_.layers[l + 1];
      const T* s1 = b_.d1[l + 1] + j * ld;
      T* rz = rz_[l + 1];
      std::fill(rz, rz + size_t(up.n_out) * ld, T(0));
      for (int k = up.t_ptr[j]; k < up.t_ptr[j + 1]; ++k) {
        const V w = V::set1(p_[up.t_param[k]]);
        T* row = rz + up.t_row[k] * ld;
        for (int64_t s = 0; s < len; s += V::L) (w * V::load(s1 + s)).store(row + s);
      }
      for (int m = l + 2; m < n; ++m) {
        multiply_rows(b_.d1[m], rz_[m - 1], ra_[m], net_.layers[m].n_in, ld, len);
        affine_forward(net_.layers[m], p_, ra_[m], ld, rz_[m], ld, len, false);
      }
    } else {
      std::fill(rz_[l], rz_[l] + size_t(net_.d_out) * ld, T(0));
      std::fill(rz_[l] + j * ld, rz_[l] + j * ld + len, T(1));
    }
    // backward: Rd, and the blocks of the Hessian
    loss_curvature(pr_.data->loss, in_, prob_, rz_[n - 1], ld, net_.d_out, rd_[n]);
    for (int m = n - 1;; --m) {
      block(l, j, m);
      if (m == l) break;
      const Layer& ly = net_.layers[m];
      affine_backward(ly, p_, rd_[m + 1], ld, rd_[m], len);
      for (int k = 0; k < ly.n_in; ++k) {
        const bool bent = !ggn_ && (m > l + 1 || k == j);
        for (int64_t at = k * ld; at < k * ld + len; at += V::L) {
          V r = V::load(rd_[m] + at) * V::load(b_.d1[m] + at);
          if (bent) {
            const V c = V::load(da_[m] + at) * V::load(b_.d2[m] + at);
            r = m > l + 1 ? fma(c, V::load(rz_[m - 1] + at), r) : r + c;
          }
          r.store(rd_[m] + at);
        }
      }
    }
  }

  void block(int l, int j, int m) {
    if (!pair(l, m).products) return by_edges(l, j, m);
    by_products(l, j, m);
    if (ggn_ || m == l) return;
    if (m == l + 1) next_layer(l, j);
    else far_layer(l, j, m);
  }

  // to[coord] += c[input] over the inputs of unit k
  static void add_unit(const UnitInputs& u, int k, int from, const T* c, T* to) {
    int e = from;
    const int end = u.ptr[k + 1];
    if (u.whole[k]) {
      if (e < end && u.input[e] == 0) {
        to[u.coord[e]] += c[0];
        ++e;
      }
      if (e == end) return;
      T* t = to + u.coord[e];
      const T* x = c + u.input[e];
      for (int i = 0; i < end - e; ++i) t[i] += x[i];
      return;
    }
    for (; e < end; ++e) to[u.coord[e]] += c[u.input[e]];
  }

  void by_products(int l, int j, int m) {
    const Pair& pr = pair(l, m);
    const UnitInputs &lo = inputs_[l], &hi = inputs_[m];
    const int k0 = l == m ? j : 0, n_units = net_.layers[m].n_out - k0, nl = n_x(l);
    pack_rows(rd_[m + 1] + k0 * ld_, ld_, in_.n, n_units, pack_);
    contract<false>(pack_, n_units, in_.n, pr.b, pr.cols, pr.cols, c_, pr.cols);
    for (int k = k0; k < k0 + n_units; ++k) {
      const T* c = c_ + size_t(k - k0) * pr.cols;
      if (l == m) {  // unfold the pairs
        for (int i = 0; i < nl; ++i)
          for (int h = i; h < nl; ++h) square_[i * nl + h] = square_[h * nl + i] = *c++;
        c = square_;
      }
      for (int a = lo.ptr[j]; a < lo.ptr[j + 1]; ++a)
        // of a unit's own inputs each pair once
        add_unit(hi, k, l == m && j == k ? a : hi.ptr[k], c + lo.input[a] * n_x(m),
                 out_ + lo.coord[a] * P_);
    }
  }

  // Rx one layer up is s' of unit j alone.
  void next_layer(int l, int j) {
    const Layer& up = net_.layers[l + 1];
    const UnitInputs& lo = inputs_[l];
    const int first = up.t_ptr[j], n_edges = up.t_ptr[j + 1] - first, ldx = padded<T>(n_x(l));
    for (int e = 0; e < n_edges; ++e)
      multiply_rows(b_.d1[l + 1] + j * ld_, delta_[l + 2] + up.t_row[first + e] * ld_,
                    row_ + e * ld_, 1, ld_, in_.n);
    pack_rows(row_, ld_, in_.n, n_edges, pack_);
    contract<false>(pack_, n_edges, in_.n, xt_[l], ldx, ldx, c_, ldx);
    for (int e = 0; e < n_edges; ++e) {
      const int q = net_.coord[up.t_param[first + e]];
      if (q < 0) continue;
      for (int a = lo.ptr[j]; a < lo.ptr[j + 1]; ++a)
        out_[lo.coord[a] * P_ + q] += c_[e * ldx + lo.input[a]];
    }
  }

  void far_layer(int l, int j, int m) {
    const Pair& pr = pair(l, m);
    const UnitInputs &lo = inputs_[l], &hi = inputs_[m];
    const int n_in = net_.layers[m].n_in;
    pack_rows(ra_[m], ld_, in_.n, n_in, pack_);
    contract<false>(pack_, n_in, in_.n, pr.far, pr.far_cols, pr.far_cols, c_, pr.far_cols);
    for (int k = 0; k < net_.layers[m].n_out; ++k)
      for (int e = hi.ptr[k]; e < hi.ptr[k + 1]; ++e) {
        if (hi.input[e] == 0) continue;
        const T* c = c_ + size_t(hi.input[e] - 1) * pr.far_cols + k * n_x(l);
        for (int a = lo.ptr[j]; a < lo.ptr[j + 1]; ++a)
          out_[lo.coord[a] * P_ + hi.coord[e]] += c[lo.input[a]];
      }
  }

  void by_edges(int l, int j, int m) {
    const UnitInputs &lo = inputs_[l], &hi = inputs_[m];
    const int n_in = lo.count(j), cols = padded<T>(n_in), ldx = padded<T>(n_x(l));
    for (int64_t s = 0; s < in_.n; ++s)
      for (int a = 0; a < cols; ++a)
        gathered_[s * cols + a] = a < n_in ? xt_[l][s * ldx + lo.input[lo.ptr[j] + a]] : T(0);
    const int end = int(hi.input.size());
    int k = l == m ? j : 0;
    for (int e = hi.ptr[k]; e < end; e += kPackRows) {
      const int n_rows = std::min(kPackRows, end - e);
      int units[kPackRows];
      for (int r = 0; r < n_rows; ++r) {
        while (e + r >= hi.ptr[k + 1]) ++k;
        units[r] = k;
        edge_row(l, j, m, k, hi.input[e + r], row_ + r * ld_);
      }
      pack_rows(row_, ld_, in_.n, n_rows, pack_);
      contract<false>(pack_, n_rows, in_.n, gathered_, cols, cols, c_, cols);
      for (int r = 0; r < n_rows; ++r) {
        // of the unit's own inputs each pair once
        const int from = l == m && units[r] == j ? e + r - lo.ptr[j] : 0;
        T* to = out_ + hi.coord[e + r];
        for (int a = from; a < n_in; ++a) to[lo.coord[lo.ptr[j] + a] * P_] += c_[r * cols + a];
      }
    }
  }

  // Rd_k x_h + d_k Rx_h
  void edge_row(int l, int j, int m, int k, int h, T* row) {
    const T* rd = rd_[m + 1] + k * ld_;
    const T* x = h ? input_rows(m) + (h - 1) * input_ld(m) : nullptr;
    const T* d = delta_[m + 1] + k * ld_;
    const T* rx = nullptr;
    if (!ggn_ && h && m == l + 1 && h - 1 == j) rx = b_.d1[m] + j * ld_;
    if (!ggn_ && h && m > l + 1) rx = ra_[m] + (h - 1) * ld_;
    for (int64_t s = 0; s < in_.n; s += V::L) {
      V r = V::load(rd + s);
      if (x) r = r * V::load(x + s);
      if (rx) r = fma(V::load(d + s), V::load(rx + s), r);
      r.store(row + s);
    }
  }

  const Net& net_;
  const Problem<T>& pr_;
  const Samples<T> all_;
  const T* p_;
  T* out_;
  bool ggn_;
  int64_t P_;
  int n_layers_;
  Scratch& ws_;
  Block<T> b_;
  int64_t ld_;
  Samples<T> in_{};
  std::vector<UnitInputs> inputs_;
  // per layer, [units, ld]: rz and rd of pre-activations (rd at index l + 1), ra and da of inputs
  std::vector<T*> rz_, ra_, rd_, delta_, da_, xt_;
  std::vector<Pair> pairs_;
  T *prob_, *row_, *pack_, *c_, *gathered_, *square_;
};

}  // namespace edt::EDT_ISA_NS
