// How a call's work is cut into items and launches: which samples a block takes, how many it holds
// at once, in how much shared memory, and which partial results are added up afterwards.
#pragma once
#include <string>
#include <vector>

#include "cuda/launch.h"
#include "cuda/wide.h"
#include "cuda/work.h"

namespace edt::cuda {

//! Items of one launch: blocks of equal size and memory.
struct Launch {
  int first, count;  // items
  int grid, threads;
  int64_t shared;  // bytes of shared memory a block
  Training kind;   // which kernel trains
  bool shallow;    // in registers
};

struct ScheduleOptions {
  int vectors = 1;       // hvp
  bool moments = false;  // training keeps both moments
  int64_t batch_size = 0;
};

//! Places in the workspace, in bytes.
struct WideLayout {
  int64_t numbers, losses, tops, sizes, squares, orders, go;
};
struct WorkspaceLayout {
  int64_t partial, partial_loss, orders, grad, loss, active;
  WideLayout wide;
  int64_t size;
};

class Schedule {
 public:
  Schedule(const DevicePlan& plan, Job job, bool is_double, int n_samples, const Limits& limits,
           const ScheduleOptions& options);
  const std::vector<Item>& items() const { return items_; }
  const std::vector<Merge>& merges() const { return merges_; }
  const std::vector<Launch>& launches() const { return launches_; }
  const WorkspaceLayout& workspace() const { return workspace_; }
  //! Training of the networks one block can hold, by launches a step instead of by that block.
  bool split_training() const { return split_training_; }
  //! The networks no block can hold.
  const WideSchedule& wide() const { return wide_; }
  //! Whether training needs launches for every step.
  bool counts_steps() const { return split_training_ || !wide_.empty(); }
  bool is_double() const { return is_double_; }
  int networks() const { return int(plan_nets_); }
  //! Blocks that mirror a network's Hessian.
  int mirror_parts() const { return mirror_parts_; }

  //! items, merges, wide networks [B] (1 or 0), their lists, as they are copied to the device.
  int64_t block_bytes() const;
  int64_t merges_at() const;
  int64_t is_wide_at() const;
  int64_t wide_at() const;
  void write(unsigned char* to) const;

 private:
  struct Shape {  // how one network's items run
    int level, tile, groups, lanes;
    bool twice, moments;
    int64_t bytes;
    bool wide;
    bool halves = false, pair = false;  // the samples in two halves; by two blocks
    Training kind(bool pairs) const;
  };
  Shape shape(const DevicePlan& plan, int b, Job job, bool moments) const;
  void pair_blocks(const DevicePlan& plan);
  void make_items(const DevicePlan& plan, Job job, const ScheduleOptions& options);
  void make_launches(const DevicePlan& plan);
  void lay_out(const DevicePlan& plan, const ScheduleOptions& options);

  bool is_double_, split_training_ = false, pairs_ = false;
  int n_;
  int64_t plan_nets_ = 0;
  int mirror_parts_ = 1;
  Limits limits_;
  std::vector<Shape> shapes_;
  std::vector<Item> items_;
  std::vector<Merge> merges_;
  std::vector<Launch> launches_;
  WorkspaceLayout workspace_{};
  WideSchedule wide_;
  int64_t partial_ = 0, orders_ = 0;
};

}  // namespace edt::cuda
