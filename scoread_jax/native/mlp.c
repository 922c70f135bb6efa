/* The residual blocks of the default's network for a training batch, forward and backward.

   Spectra lie in the lanes of vectors, so each goes the same way whatever its place; all layers of SPECTRA of them
   stay near a core. Gradients of the kernels are sums over the whole batch, each by one thread, so results are the same
   to the last bit whatever the number of threads. Compiled for HIDDEN. */

#include "pieces.h"

#define H HIDDEN
#define SPECTRA 32
#define ROWS 32 /* of a kernel, whose gradients are one piece */

#if HIDDEN % LANES || HIDDEN % ROWS
#error "sizes that do not divide"
#endif

/* Of each block; after those of all blocks come what is added to each spectrum, [spectra, blocks * H], and the spectra,
   [spectra, H]. */
enum { GAIN, BIAS, FIRST, FIRST_BIAS, SECOND, SECOND_BIAS, OF_BLOCK };
enum { SHIFT, X, KEPT, OF_OUTPUT }; /* from there on */
enum { LEFT = KEPT };               /* among the results of the way back */
enum { COUNT, BLOCKS };             /* sizes of a job */

/* What a piece keeps of each block for the way back, and of the last one. */
#define PLANE (H * SPECTRA)
#define NORMED 0
#define FACTOR PLANE
#define INNER (PLANE + SPECTRA)
#define KEPT_OF_BLOCK (2 * PLANE + SPECTRA)
#define KEPT_OF_PIECE(blocks) ((blocks) * KEPT_OF_BLOCK + PLANE)

INLINE vec inverse_root(vec x) {
  for (int i = 0; i < LANES; i++) x[i] = 1 / __builtin_sqrtf(x[i]);
  return x;
}

/* Some spectra [count, width] to a plane [width, SPECTRA], zero where there are none. */
INLINE void lay_out(const float *from, int64_t row, int count, float *to) {
  for (int j = 0; j < H; j += LANES)
    for (int r = 0; r < SPECTRA; r += LANES) {
      vec x[LANES];
      for (int i = 0; i < LANES; i++) x[i] = r + i < count ? load(from + (r + i) * row + j) : all(0);
      turn(x);
      for (int i = 0; i < LANES; i++) store(to + (j + i) * SPECTRA + r, x[i]);
    }
}

/* The other way round. */
INLINE void lay_back(const float *from, int64_t row, int count, float *to) {
  for (int j = 0; j < H; j += LANES)
    for (int r = 0; r < SPECTRA; r += LANES) {
      vec x[LANES];
      for (int i = 0; i < LANES; i++) x[i] = load(from + (j + i) * SPECTRA + r);
      turn(x);
      for (int i = 0; i < LANES && r + i < count; i++) store(to + (r + i) * row + j, x[i]);
    }
}

/* Kernel [H, H] to planes: out[j] = sum over k of kernel[k, j] x[k], and out[k] = sum over j of kernel[k, j] x[j]. */
INLINE void through(const float *kernel, const float *x, float *out, int added) {
  any_product(kernel, 1, H, x, SPECTRA, out, SPECTRA, H, H, SPECTRA, added);
}

INLINE void back_through(const float *kernel, const float *x, float *out) {
  any_product(kernel, H, 1, x, SPECTRA, out, SPECTRA, H, H, SPECTRA, 0);
}

INLINE int spectra_of(const Job *job, int64_t piece) {
  const int64_t left = job->size[COUNT] - piece * SPECTRA;
  return left < SPECTRA ? left : SPECTRA;
}

INLINE const float *of_block(const Job *job, int64_t block, int which) { return reads(job, block * OF_BLOCK + which); }
INLINE const float *after(const Job *job, int which) { return reads(job, job->size[BLOCKS] * OF_BLOCK + which); }

/* made: output, what is kept (if it is wanted). */
static void trunk_piece(const Job *job, int64_t piece, void *room) {
  const int64_t blocks = job->size[BLOCKS], first = piece * SPECTRA;
  const int here = spectra_of(job, piece);
  float *h = room, *u = h + PLANE, *kept = u + PLANE;
  if (job->made[1]) kept = makes(job, 1) + piece * KEPT_OF_PIECE(blocks);
  lay_out(after(job, X) + first * H, H, here, h);
  for (int64_t block = 0; block < blocks; block++) {
    const float *gain = of_block(job, block, GAIN), *bias = of_block(job, block, BIAS);
    const float *first_bias = of_block(job, block, FIRST_BIAS), *second_bias = of_block(job, block, SECOND_BIAS);
    const float *shift = after(job, SHIFT) + block * H;
    float *normed = kept + NORMED, *factor = kept + FACTOR, *inner = kept + INNER;
    for (int r = 0; r < SPECTRA; r += LANES) {
      vec mean = all(0), square = all(0);
      for (int j = 0; j < H; j++) mean += load(h + j * SPECTRA + r);
      mean /= (float)H;
      for (int j = 0; j < H; j++) {
        const vec centred = load(h + j * SPECTRA + r) - mean;
        square += centred * centred;
      }
      const vec scale = inverse_root(square / (float)H + 1e-5f);
      store(factor + r, scale);
      for (int j = 0; j < H; j++) {
        const vec x = (load(h + j * SPECTRA + r) - mean) * scale;
        store(normed + j * SPECTRA + r, x);
        store(u + j * SPECTRA + r, x * gain[j] + bias[j]);
      }
    }
    lay_out(shift + first * blocks * H, blocks * H, here, inner);
    for (int j = 0; j < H; j++)
      for (int r = 0; r < SPECTRA; r += LANES)
        store(inner + j * SPECTRA + r, load(inner + j * SPECTRA + r) + first_bias[j]);
    through(of_block(job, block, FIRST), u, inner, 1);
    for (int j = 0; j < H; j++)
      for (int r = 0; r < SPECTRA; r += LANES) {
        store(u + j * SPECTRA + r, swish(load(inner + j * SPECTRA + r)));
        store(h + j * SPECTRA + r, load(h + j * SPECTRA + r) + second_bias[j]);
      }
    through(of_block(job, block, SECOND), u, h, 1);
    if (job->made[1]) kept += KEPT_OF_BLOCK;
  }
  if (job->made[1]) memcpy(kept, h, PLANE * sizeof(float));
  for (int i = 0; i < PLANE; i += LANES) store(u + i, swish(load(h + i)));
  lay_back(u, H, here, makes(job, 0) + first * H);
}

static int64_t blocks_given(const XLA_FFI_CallFrame *frame, int more) { return (frame->args.size - more) / OF_BLOCK; }

/* What the arrays of all blocks must be. */
static void expect_blocks(Array *arrays, int64_t blocks) {
  for (int64_t i = 0; i < blocks * OF_BLOCK; i++)
    arrays[i] = (Array)F32(i % OF_BLOCK == FIRST || i % OF_BLOCK == SECOND ? H * H : H);
}

/* Whether the first of the arguments fit, and the results. */
static int fits(const XLA_FFI_CallFrame *frame, int64_t blocks, int more, const Array *others, const Array *made,
                int results) {
  Array given[MOST];
  if (blocks < 1 || blocks * OF_BLOCK + more > MOST) return 0;
  expect_blocks(given, blocks);
  for (int i = 0; i < more; i++) given[blocks * OF_BLOCK + i] = others[i];
  return fit(frame, given, blocks * OF_BLOCK + more, made, results);
}

/* All of the above -> outputs [spectra, H], and (where a second result is wanted) what is kept for the way back. */
XLA_FFI_Error *trunk(XLA_FFI_CallFrame *frame) {
  if (answered(frame)) return 0;
  const int64_t blocks = blocks_given(frame, KEPT), at = blocks * OF_BLOCK;
  const int64_t n = axis(frame, at + X, 0), pieces = (n + SPECTRA - 1) / SPECTRA;
  const Array others[] = {F32(n * blocks * H), F32(n * H)};
  const Array made[] = {F32(n * H), F32(pieces * KEPT_OF_PIECE(blocks))};
  if (!fits(frame, blocks, KEPT, others, made, frame->rets.size == 1 ? 1 : 2)) return unfit(frame);
  Job *job = begin(frame, trunk_piece, (2 * PLANE + KEPT_OF_BLOCK) * sizeof(float), pieces);
  if (!job) return no_memory(frame);
  job->size[COUNT] = n, job->size[BLOCKS] = blocks;
  return run(frame, job, 0, 0);
}

/* What a piece of the way back leaves for the gradients of the kernels: what came into each, [H, padded], and the
   gradient of what came out, [padded, H], of the whole batch; then, of each piece, the sums over its spectra of the
   gradients of the norms' gains and biases. */
typedef struct {
  float *in, *out, *sums;
  int64_t padded;
} Left;

INLINE Left left_of(const Job *job) {
  float *room = makes(job, job->size[BLOCKS] * OF_BLOCK + LEFT);
  const int64_t pieces = (job->size[COUNT] + SPECTRA - 1) / SPECTRA, padded = pieces * SPECTRA;
  const int64_t both = 2 * job->size[BLOCKS] * H * padded;
  return (Left){room, room + both, room + 2 * both, padded};
}

INLINE int64_t left_floats(int64_t blocks, int64_t pieces) {
  return 4 * blocks * H * pieces * SPECTRA + 2 * blocks * H * pieces;
}

/* The sums over the spectra of a plane. */
INLINE void add_up(const float *plane, float *to) {
  for (int j = 0; j < H; j += LANES) {
    vec x[LANES], sum = all(0);
    for (int i = 0; i < LANES; i++) {
      x[i] = load(plane + (j + i) * SPECTRA);
      for (int r = LANES; r < SPECTRA; r += LANES) x[i] += load(plane + (j + i) * SPECTRA + r);
    }
    turn(x);
    for (int i = 0; i < LANES; i++) sum += x[i];
    store(to + j, sum);
  }
}

/* The gradient of swish, from the sigmoid of x. */
INLINE vec swish_slope(vec x, vec s) { return s + x * s * (1 - s); }

static void gradient_piece(const Job *job, int64_t piece, void *room) {
  const int64_t blocks = job->size[BLOCKS], first = piece * SPECTRA, at = blocks * OF_BLOCK;
  const int here = spectra_of(job, piece);
  const Left left = left_of(job);
  const float *kept = after(job, KEPT) + piece * KEPT_OF_PIECE(blocks) + blocks * KEPT_OF_BLOCK;
  float *dh = room, *du = dh + PLANE, *dv = du + PLANE;
  lay_out(after(job, OF_OUTPUT) + first * H, H, here, dh);
  for (int i = 0; i < PLANE; i += LANES) store(dh + i, load(dh + i) * swish_slope(load(kept + i), sigmoid(load(kept + i))));
  for (int64_t block = blocks; block-- > 0;) {
    kept -= KEPT_OF_BLOCK;
    const float *gain = of_block(job, block, GAIN), *bias = of_block(job, block, BIAS);
    const float *normed = kept + NORMED, *factor = kept + FACTOR, *inner = kept + INNER;
    float *into_first = left.in + 2 * block * H * left.padded + first, *into_second = into_first + H * left.padded;
    float *of_first = left.out + (2 * block * left.padded + first) * H, *of_second = of_first + left.padded * H;
    lay_back(dh, H, SPECTRA, of_second);
    back_through(of_block(job, block, SECOND), dh, dv);
    for (int j = 0; j < H; j++)
      for (int r = 0; r < SPECTRA; r += LANES) {
        const vec v = load(inner + j * SPECTRA + r), s = sigmoid(v);
        store(into_second + j * left.padded + r, v * s);
        store(dv + j * SPECTRA + r, load(dv + j * SPECTRA + r) * swish_slope(v, s));
        store(into_first + j * left.padded + r, load(normed + j * SPECTRA + r) * gain[j] + bias[j]);
      }
    lay_back(dv, H, SPECTRA, of_first);
    lay_back(dv, blocks * H, here, makes(job, at + SHIFT) + first * blocks * H + block * H);
    back_through(of_block(job, block, FIRST), dv, du);
    float *sums = left.sums + (piece * blocks + block) * 2 * H;
    add_up(du, sums + H);
    for (int r = 0; r < SPECTRA; r += LANES) {
      vec mean = all(0), along = all(0);
      for (int j = 0; j < H; j++) {
        const vec x = load(normed + j * SPECTRA + r), d = load(du + j * SPECTRA + r), scaled = d * gain[j];
        mean += scaled;
        along += scaled * x;
        store(dv + j * SPECTRA + r, d * x);
      }
      mean /= (float)H, along /= (float)H;
      const vec scale = load(factor + r);
      for (int j = 0; j < H; j++) {
        const vec rest = load(du + j * SPECTRA + r) * gain[j] - mean - load(normed + j * SPECTRA + r) * along;
        store(dh + j * SPECTRA + r, load(dh + j * SPECTRA + r) + scale * rest);
      }
    }
    add_up(dv, sums);
  }
  lay_back(dh, H, here, makes(job, at + X) + first * H);
}

/* Some rows of a kernel's gradient; after those of all kernels, the vectors of each block. */
static void kernel_piece(const Job *job, int64_t piece, void *room) {
  (void)room;
  const int64_t blocks = job->size[BLOCKS], tiles = H / ROWS, kernel = piece / tiles;
  const Left left = left_of(job);
  if (kernel < 2 * blocks) {
    const int64_t row = piece % tiles * ROWS, second = kernel % 2;
    any_product(left.in + (kernel * H + row) * left.padded, left.padded, 1, left.out + kernel * left.padded * H, H,
                makes(job, kernel / 2 * OF_BLOCK + (second ? SECOND : FIRST)) + row * H, H, ROWS, left.padded, H, 0);
    return;
  }
  const int64_t block = piece - 2 * blocks * tiles;
  for (int second = 0; second < 2; second++) {
    const float *from = left.out + (2 * block + second) * left.padded * H;
    float *to = makes(job, block * OF_BLOCK + (second ? SECOND_BIAS : FIRST_BIAS));
    memset(to, 0, H * sizeof(float));
    for (int64_t n = 0; n < left.padded; n++)
      for (int j = 0; j < H; j += LANES) store(to + j, load(to + j) + load(from + n * H + j));
  }
  for (int which = 0; which < 2; which++) {
    float *to = makes(job, block * OF_BLOCK + (which ? BIAS : GAIN));
    memset(to, 0, H * sizeof(float));
    for (int64_t p = 0; p < left.padded / SPECTRA; p++)
      for (int j = 0; j < H; j += LANES)
        store(to + j, load(to + j) + load(left.sums + ((p * blocks + block) * 2 + which) * H + j));
  }
}

/* The same, what is kept and the gradient of the output -> those of all but what is kept, and room for what the first
   half leaves to the second: memory of the system's would be new to the process at every step. */
XLA_FFI_Error *trunk_gradient(XLA_FFI_CallFrame *frame) {
  if (answered(frame)) return 0;
  const int64_t blocks = blocks_given(frame, OF_OUTPUT + 1), at = blocks * OF_BLOCK;
  const int64_t n = axis(frame, at + X, 0), pieces = (n + SPECTRA - 1) / SPECTRA;
  const Array others[] = {F32(n * blocks * H), F32(n * H), F32(pieces * KEPT_OF_PIECE(blocks)), F32(n * H)};
  Array made[MOST];
  if (blocks < 1 || at + LEFT >= MOST) return unfit(frame);
  expect_blocks(made, blocks);
  made[at + SHIFT] = others[SHIFT], made[at + X] = others[X], made[at + LEFT] = (Array)F32(left_floats(blocks, pieces));
  if (!fits(frame, blocks, OF_OUTPUT + 1, others, made, at + LEFT + 1)) return unfit(frame);
  Job *job = begin(frame, gradient_piece, 3 * PLANE * sizeof(float), pieces);
  Job *kernels = begin(frame, kernel_piece, sizeof(float), 2 * blocks * (H / ROWS) + blocks);
  if (!job || !kernels) {
    free(job), free(kernels);
    return no_memory(frame);
  }
  job->size[COUNT] = kernels->size[COUNT] = n, job->size[BLOCKS] = kernels->size[BLOCKS] = blocks;
  XLA_FFI_Error *error = run(frame, job, 0, 0);
  if (!error) return run(frame, kernels, 0, 0);
  leave(kernels);
  return error;
}
