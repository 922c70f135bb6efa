/* The published network forward, for many spectra: every layer of one spectrum stays in the first-level cache.

   Convolutions of width 5 and stride 2 are two of stride 1, over even and odd positions, and those are computed by
   Winograd's F(4, 3) (Lavin & Gray 2016, arXiv 1509.09308) with the points 0, +-1, +-2 and infinity: 11 products for
   four outputs, not 20. Kernels come transformed; see forward.py, which lays out all that is read here.

   Compiled for HIDDEN and CHANNELS and for the processor at hand. Every spectrum goes the same way whatever its place,
   so its result is the same to the last bit however the work is cut up. */

#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "xla/ffi/api/c_api.h"

#define H HIDDEN
#define C CHANNELS

#ifndef LANES
#if defined(__AVX512F__) && CHANNELS % 16 == 0
#define LANES 16
#elif defined(__AVX__) && CHANNELS % 8 == 0
#define LANES 8
#else
#define LANES 4
#endif
#endif

/* Rows of a product whose sums are held in registers: 16 registers of sums of 32, or 8 of 16. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define HELD 8
#else
#define HELD 4
#endif

/* Rows of four outputs that are transformed together, and spectra that share a pass over the dense layers' kernels. */
#define ROWS 8
#define SPECTRA 16
#define LINE 64
#define ON_LINE __attribute__((aligned(LINE)))

#if HIDDEN % 256 || CHANNELS % LANES
#error "sizes that do not divide"
#endif

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *from) { return *(const vec *)from; }
INLINE void store(float *to, vec x) { *(vec *)to = x; }

INLINE vec all(float x) {
  vec r;
  for (int i = 0; i < LANES; i++) r[i] = x;
  return r;
}

INLINE vec where(ivec condition, vec a, vec b) { return (vec)((condition & (ivec)a) | (~condition & (ivec)b)); }

/* 1/x for normal x > 0: Newton's steps from a guess by the exponent, cheaper than a division. */
INLINE vec reciprocal(vec x) {
  vec y = (vec)(0x7EF311C7 - (ivec)x);
  for (int i = 0; i < 3; i++) y = y * (2 - x * y);
  return y;
}

/* x / (1 + exp(-x)), with 2^f by a polynomial (relative error 1e-7). */
INLINE vec swish(vec x) {
  vec y = x * -1.44269504f;
  y = where(y > -100, y, all(-100));
  y = where(y < 100, y, all(100));
  vec shifted = y + 12582912.f; /* 1.5 * 2^23: its last bits are y rounded */
  vec f = y - (shifted - 12582912.f);
  vec p = f * 1.3264701e-3f + 9.6715051e-3f;
  p = p * f + 5.5507337e-2f;
  p = p * f + 2.4022242e-1f;
  p = p * f + 6.9314698e-1f;
  p = p * f + 1;
  return x * reciprocal(1 + (vec)((ivec)p + ((ivec)shifted << 23)));
}

#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#if LANES == 16
#define NEIGHBOUR(x) PICK(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#define NEXT_PAIR(x) PICK(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define EIGHTS(a, b)                                                                        \
  (PICK(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +                     \
   PICK(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#define FOURS(a, b)                                                                         \
  (PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +                   \
   PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31))
#define TWOS(a, b)                                                                          \
  (PICK(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +                   \
   PICK(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31))
#define ONES(a, b)                                                                          \
  (PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +                  \
   PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31))
#elif LANES == 8
#define NEIGHBOUR(x) PICK(x, x, 1, 0, 3, 2, 5, 4, 7, 6)
#define NEXT_PAIR(x) PICK(x, x, 2, 3, 0, 1, 6, 7, 4, 5)
#define FOURS(a, b) (PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#define TWOS(a, b) (PICK(a, b, 0, 1, 4, 5, 8, 9, 12, 13) + PICK(a, b, 2, 3, 6, 7, 10, 11, 14, 15))
#define ONES(a, b) (PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14) + PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15))
#else
#define NEIGHBOUR(x) PICK(x, x, 1, 0, 3, 2)
#define NEXT_PAIR(x) PICK(x, x, 2, 3, 0, 1)
#define TWOS(a, b) (PICK(a, b, 0, 1, 4, 5) + PICK(a, b, 2, 3, 6, 7))
#define ONES(a, b) (PICK(a, b, 0, 2, 4, 6) + PICK(a, b, 1, 3, 5, 7))
#endif

/* Means over groups of four neighbouring channels, at each of them. */
INLINE vec group_mean(vec x) {
  vec pairs = x + NEIGHBOUR(x);
  return (pairs + NEXT_PAIR(pairs)) * .25f;
}

/* The sum of the lanes of each of LANES vectors. */
INLINE vec lane_sums(vec *x) {
#if LANES >= 16
  for (int i = 0; i < 8; i++) x[i] = EIGHTS(x[2 * i], x[2 * i + 1]);
#endif
#if LANES >= 8
  for (int i = 0; i < 4; i++) x[i] = FOURS(x[2 * i], x[2 * i + 1]);
#endif
  for (int i = 0; i < 2; i++) x[i] = TWOS(x[2 * i], x[2 * i + 1]);
  return ONES(x[0], x[1]);
}

/* a [HELD, inner] times b [inner, LANES * vectors]. */
INLINE void held_product(const float *a, int a_step, const float *b, int b_step, float *out, int out_step, int inner,
                         int vectors) {
  vec sums[HELD][2];
  for (int r = 0; r < HELD; r++)
    for (int j = 0; j < vectors; j++) sums[r][j] = all(0);
  for (int k = 0; k < inner; k++) {
    vec row[2];
    for (int j = 0; j < vectors; j++) row[j] = load(b + (size_t)k * b_step + j * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < HELD; r++)
      for (int j = 0; j < vectors; j++) sums[r][j] += row[j] * a[(size_t)r * a_step + k];
  }
  for (int r = 0; r < HELD; r++)
    for (int j = 0; j < vectors; j++) store(out + (size_t)r * out_step + j * LANES, sums[r][j]);
}

/* a [rows, inner] times b [inner, columns], rows a multiple of HELD, columns of LANES. */
INLINE void product(const float *a, int a_step, const float *b, int b_step, float *out, int out_step, int rows,
                    int inner, int columns) {
  int n = 0;
  for (; n + 2 * LANES <= columns; n += 2 * LANES)
    for (int r = 0; r < rows; r += HELD)
      held_product(a + (size_t)r * a_step, a_step, b + n, b_step, out + (size_t)r * out_step + n, out_step, inner, 2);
  for (; n < columns; n += LANES)
    for (int r = 0; r < rows; r += HELD)
      held_product(a + (size_t)r * a_step, a_step, b + n, b_step, out + (size_t)r * out_step + n, out_step, inner, 1);
}

/* Six neighbours to their values at the points, without the factors that the kernels carry. */
INLINE void to_points(const vec *x, vec *at) {
  vec a = x[4] - 4 * x[2], b = x[3] - 4 * x[1], c = x[4] - x[2], d = x[3] - x[1];
  at[0] = 4 * x[0] - 5 * x[2] + x[4];
  at[1] = a + b;
  at[2] = a - b;
  at[3] = c + 2 * d;
  at[4] = c - 2 * d;
  at[5] = 4 * x[1] - 5 * x[3] + x[5];
}

/* Products at the points to four outputs. */
INLINE void from_points(const vec *at, vec *y) {
  vec a = at[1] + at[2], b = at[1] - at[2], c = at[3] + at[4], d = at[3] - at[4];
  y[0] = at[0] + a + c;
  y[1] = b + 2 * d;
  y[2] = a + 4 * c;
  y[3] = b + 8 * d + at[5];
}

/* Sums over positions of a layer's outputs and of their squares, by channel. */
typedef struct {
  vec first[4 * C / LANES], second[4 * C / LANES];
} Moments;

INLINE void start(Moments *m, int channels) {
  for (int j = 0; j < channels / LANES; j++) m->first[j] = m->second[j] = all(0);
}

INLINE void add(Moments *m, int j, vec y) {
  m->first[j] += y;
  m->second[j] += y * y;
}

/* Group norm of x + shift, then swish, in place; law is [shift, gain, bias][channels]. */
INLINE void norm_and_swish(float *x, int length, int channels, const float *law, const Moments *m) {
  for (int j = 0; j < channels / LANES; j++) {
    vec shift = load(law + j * LANES), gain = load(law + channels + j * LANES);
    vec bias = load(law + 2 * channels + j * LANES);
    vec first = m->first[j] / (float)length;
    vec second = m->second[j] / (float)length + shift * (2 * first + shift);
    vec mean = group_mean(first + shift);
    vec variance = group_mean(second) - mean * mean + 1e-5f, factor;
    for (int i = 0; i < LANES; i++) factor[i] = gain[i] / __builtin_sqrtf(variance[i]);
    vec offset = (shift - mean) * factor + bias;
    for (int i = 0; i < length; i++) {
      float *at = x + (size_t)i * channels + j * LANES;
      store(at, swish(load(at) * factor + offset));
    }
  }
}

/* Activations of one spectrum, with zeros before and after each layer's [length, channels]. */
typedef struct {
  ON_LINE float h1[2 + H + LANES];
  ON_LINE float h2[(H / 2 + 4) * C], h3[(H / 4 + 4) * 2 * C], h4[(H / 8 + 4) * 4 * C], u4[(H / 4 + 4) * 2 * C];
  ON_LINE float u3[(H / 2 + 4) * C];
  ON_LINE float points[6 * ROWS * 4 * C], products[6 * ROWS * 4 * C];
} Layers;

/* Strided convolution of x [2 * length, in] to y [length, out]; kernel [6, even in | odd in, out]. */
INLINE void down(const float *x, int in, const float *kernel, float *y, int length, int out, Layers *s, Moments *m) {
  const int inner = 2 * in;
  start(m, out);
  for (int first = 0; first < length / 4; first += ROWS) {
    for (int r = 0; r < ROWS; r++)
      for (int odd = 0; odd < 2; odd++)
        for (int j = 0; j < in; j += LANES) {
          vec near[6], at[6];
          for (int q = 0; q < 6; q++) near[q] = load(x + (2 * (4 * (first + r) - 1 + q) + odd) * in + j);
          to_points(near, at);
          for (int p = 0; p < 6; p++) store(s->points + (p * ROWS + r) * inner + odd * in + j, at[p]);
        }
    for (int p = 0; p < 6; p++) /* the odd positions' two taps are nothing at infinity */
      product(s->points + p * ROWS * inner, inner, kernel + p * inner * out, out, s->products + p * ROWS * out, out,
              ROWS, p == 5 ? in : inner, out);
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < out / LANES; j++) {
        vec at[6], four[4];
        for (int p = 0; p < 6; p++) at[p] = load(s->products + (p * ROWS + r) * out + j * LANES);
        from_points(at, four);
        for (int i = 0; i < 4; i++) {
          store(y + (4 * (first + r) + i) * out + j * LANES, four[i]);
          add(m, j, four[i]);
        }
      }
  }
}

/* Transposed convolution of [a | b] [length, a_in + b_in] to y [2 * length, out]; kernel [6, in, even out | odd out]. */
INLINE void up(const float *a, int a_in, const float *b, int b_in, const float *kernel, float *y, int length, int out,
               Layers *s, Moments *m) {
  const int in = a_in + b_in, both = 2 * out;
  start(m, out);
  for (int first = 0; first < length / 4; first += ROWS) {
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < in; j += LANES) {
        vec near[6], at[6];
        for (int q = 0; q < 6; q++) {
          int i = 4 * (first + r) - 1 + q;
          near[q] = j < a_in ? load(a + i * a_in + j) : load(b + i * b_in + j - a_in);
        }
        to_points(near, at);
        for (int p = 0; p < 6; p++) store(s->points + (p * ROWS + r) * in + j, at[p]);
      }
    for (int p = 0; p < 6; p++) /* the odd outputs' two taps are nothing at zero */
      product(s->points + p * ROWS * in, in, kernel + p * in * both, both, s->products + p * ROWS * both, both, ROWS,
              in, p == 0 ? out : both);
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < out / LANES; j++)
        for (int odd = 0; odd < 2; odd++) {
          vec at[6], four[4];
          for (int p = 0; p < 6; p++)
            at[p] = odd && p == 0 ? all(0) : load(s->products + (p * ROWS + r) * both + odd * out + j * LANES);
          from_points(at, four);
          for (int i = 0; i < 4; i++) {
            store(y + (2 * (4 * (first + r) + i) + odd) * out + j * LANES, four[i]);
            add(m, j, four[i]);
          }
        }
  }
}

/* What is read, in this order; then the spectra, then their modulation where there is a spatial condition. */
enum { FC1, NORM1, CONV2, NORM2, CONV3, NORM3, CONV4, NORM4, TCONV4, TNORM4, TCONV3, TNORM3, TCONV2, TCONV2_BIAS, OUT,
       OUT_BIAS, X, MODULATION };

/* The first convolution, of one channel: h1 to h2. */
INLINE void first_convolution(const float *kernel, const float *h1, float *h2, Moments *m) {
  start(m, C);
  for (int j = 0; j < C; j += LANES)
    for (int i = 0; i < H / 2; i++) {
      vec y = load(kernel + j) * h1[2 * i - 2];
      for (int k = 1; k < 5; k++) y += load(kernel + k * C + j) * h1[2 * i - 2 + k];
      store(h2 + i * C + j, y);
      add(m, j / LANES, y);
    }
}

/* The last convolution, to one channel: [u3 | h2] to u2. */
INLINE void last_convolution(const float *kernel, float bias, const float *u3, const float *h2, float *u2) {
  for (int first = 0; first < H / 2; first += LANES / 2) {
    vec parts[LANES];
    for (int i = 0; i < LANES / 2; i++) {
      vec even = all(0), odd = all(0);
      for (int j = 0; j < 2 * C; j += LANES) {
        const float *x = (j < C ? u3 + j : h2 + j - C) + (first + i) * C, *tap = kernel + j;
        vec before = load(x - C), here = load(x), after = load(x + C);
        even += before * load(tap + 8 * C) + here * load(tap + 4 * C) + after * load(tap);
        odd += here * load(tap + 6 * C) + after * load(tap + 2 * C);
      }
      parts[2 * i] = even;
      parts[2 * i + 1] = odd;
    }
    store(u2 + 2 * first, lane_sums(parts) + bias);
  }
}

/* From h1 to u2, which lie side by side in u2_h1 [2 * H]. */
static void u_net(float *const *given, float *u2_h1, Layers *s) {
  float *h2 = s->h2 + 2 * C, *h3 = s->h3 + 4 * C, *h4 = s->h4 + 8 * C, *u4 = s->u4 + 4 * C, *u3 = s->u3 + 2 * C;
  Moments m;
  memcpy(s->h1 + 2, u2_h1 + H, H * sizeof(float));
  first_convolution(given[CONV2], s->h1 + 2, h2, &m);
  norm_and_swish(h2, H / 2, C, given[NORM2], &m);
  down(h2, C, given[CONV3], h3, H / 4, 2 * C, s, &m);
  norm_and_swish(h3, H / 4, 2 * C, given[NORM3], &m);
  down(h3, 2 * C, given[CONV4], h4, H / 8, 4 * C, s, &m);
  norm_and_swish(h4, H / 8, 4 * C, given[NORM4], &m);
  up(h4, 4 * C, 0, 0, given[TCONV4], u4, H / 8, 2 * C, s, &m);
  norm_and_swish(u4, H / 4, 2 * C, given[TNORM4], &m);
  up(u4, 2 * C, h3, 2 * C, given[TCONV3], u3, H / 4, C, s, &m);
  norm_and_swish(u3, H / 2, C, given[TNORM3], &m);
  last_convolution(given[TCONV2], *given[TCONV2_BIAS], u3, h2, u2_h1);
}

/* Layer norm of h + shift, modulation [a, b] where given, swish; in place. */
INLINE void first_norm(float *h, const float *law, const float *modulation) {
  vec total = all(0), squares = all(0);
  for (int j = 0; j < H; j += LANES) {
    vec x = load(h + j) + load(law + j);
    store(h + j, x);
    total += x;
  }
  float mean = 0, variance = 0;
  for (int i = 0; i < LANES; i++) mean += total[i];
  mean /= H;
  for (int j = 0; j < H; j += LANES) {
    vec x = load(h + j) - mean;
    squares += x * x;
  }
  for (int i = 0; i < LANES; i++) variance += squares[i];
  float factor = 1 / __builtin_sqrtf(variance / H + 1e-5f);
  for (int j = 0; j < H; j += LANES) {
    vec x = (load(h + j) - mean) * (factor * load(law + H + j)) + load(law + 2 * H + j);
    if (modulation) x = x * (1 + load(modulation + j)) + load(modulation + H + j);
    store(h + j, swish(x));
  }
}

/* One call's work. Whoever has time takes the next piece; the call waits for those that others took. */
typedef struct {
  float *given[MODULATION + 1];
  float *out;
  int64_t spectra, bands, padded;
  int64_t next, done, users;
  int failed;
} Job;

static int64_t pieces(const Job *job) { return (job->spectra + SPECTRA - 1) / SPECTRA; }

typedef struct {
  Layers layers;
  ON_LINE float u2_h1[SPECTRA * 2 * H];
  ON_LINE float rest[]; /* spectra [SPECTRA, bands], outputs [SPECTRA, padded] */
} Room;

static void one_piece(const Job *job, int64_t piece, Room *room) {
  const int64_t bands = job->bands, first = piece * SPECTRA, left = job->spectra - first;
  const int here = left < SPECTRA ? left : SPECTRA;
  float *x = room->rest, *out = x + SPECTRA * bands;
  memcpy(x, job->given[X] + first * bands, here * bands * sizeof(float));
  product(x, bands, job->given[FC1], H, room->u2_h1 + H, 2 * H, SPECTRA, bands, H);
  for (int i = 0; i < here; i++) {
    float *u2_h1 = room->u2_h1 + i * 2 * H;
    first_norm(u2_h1 + H, job->given[NORM1], job->given[MODULATION] ? job->given[MODULATION] + (first + i) * 2 * H : 0);
    u_net(job->given, u2_h1, &room->layers);
  }
  product(room->u2_h1, 2 * H, job->given[OUT], job->padded, out, job->padded, SPECTRA, 2 * H, job->padded);
  for (int i = 0; i < here; i++)
    for (int64_t j = 0; j < bands; j++)
      job->out[(first + i) * bands + j] = out[i * job->padded + j] + job->given[OUT_BIAS][j];
}

static void leave(Job *job) {
  if (__atomic_sub_fetch(&job->users, 1, __ATOMIC_ACQ_REL) == 0) free(job);
}

/* On a cache line's edge, or every load of a long vector would be two. */
static Room *new_room(const Job *job) {
  size_t size = sizeof(Room) + SPECTRA * (job->bands + job->padded) * sizeof(float);
  void *room = 0;
  return posix_memalign(&room, LINE, size) ? 0 : memset(room, 0, size);
}

static void take_pieces(Job *job) {
  Room *room = 0;
  for (int64_t piece; (piece = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED)) < pieces(job);) {
    /* The zeros around the layers stay; what else is not written yet belongs to spectra that nobody reads. */
    if (!room) room = new_room(job);
    if (room)
      one_piece(job, piece, room);
    else
      __atomic_store_n(&job->failed, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&job->done, 1, __ATOMIC_RELEASE);
  }
  free(room);
}

static void help(void *job) {
  take_pieces(job);
  leave(job);
}

static void ask_for_help(const XLA_FFI_CallFrame *frame, Job *job) {
  int64_t threads = 1;
  XLA_FFI_ThreadPool_NumThreads_Args count = {sizeof count, 0, frame->ctx, &threads};
  XLA_FFI_Error *error = frame->api->XLA_FFI_ThreadPool_NumThreads(&count);
  int64_t wanted = (threads < pieces(job) ? threads : pieces(job)) - 1;
  for (int64_t i = 0; i < wanted && !error; i++) {
    XLA_FFI_ThreadPool_Schedule_Args task = {sizeof task, 0, frame->ctx, help, job};
    __atomic_add_fetch(&job->users, 1, __ATOMIC_RELAXED);
    error = frame->api->XLA_FFI_ThreadPool_Schedule(&task);
    if (error) leave(job);
  }
  if (error) { /* no pool: this thread does it all */
    XLA_FFI_Error_Destroy_Args done = {sizeof done, 0, error};
    frame->api->XLA_FFI_Error_Destroy(&done);
  }
}

static XLA_FFI_Error *failure(const XLA_FFI_CallFrame *frame, XLA_FFI_Error_Code code, const char *message) {
  XLA_FFI_Error_Create_Args args = {sizeof args, 0, message, code};
  return frame->api->XLA_FFI_Error_Create(&args);
}

static int64_t numbers(const XLA_FFI_Buffer *buffer) {
  int64_t count = 1;
  for (int64_t i = 0; i < buffer->rank; i++) count *= buffer->dims[i];
  return buffer->dtype == XLA_FFI_DataType_F32 ? count : -1;
}

/* What XLA calls: all of the enum above -> outputs [spectra, bands]. */
XLA_FFI_Error *forward(XLA_FFI_CallFrame *frame) {
  if (frame->extension_start && frame->extension_start->type == XLA_FFI_Extension_Metadata) {
    XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)frame->extension_start)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    metadata->traits = 0;
    return 0;
  }
  if (frame->stage != XLA_FFI_ExecutionStage_EXECUTE) return 0;
  if ((frame->args.size != MODULATION && frame->args.size != MODULATION + 1) || frame->rets.size != 1)
    return failure(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, "unet1d: another number of arrays than was compiled for");
  XLA_FFI_Buffer **args = (XLA_FFI_Buffer **)frame->args.args, *out = frame->rets.rets[0];
  const int64_t n = args[X]->dims[0], bands = args[X]->dims[1], padded = args[OUT_BIAS]->dims[0];
  const int64_t expected[] = {bands * H, 3 * H, 5 * C, 3 * C, 24 * C * C, 6 * C, 96 * C * C, 12 * C, 96 * C * C, 6 * C,
                              48 * C * C, 3 * C, 10 * C, 1, 2 * H * padded, padded, n * bands, n * 2 * H};
  for (int64_t i = 0; i < frame->args.size; i++)
    if (numbers(args[i]) != expected[i])
      return failure(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, "unet1d: an array of another size than was compiled for");
  if (numbers(out) != n * bands || padded < bands || padded % (2 * LANES))
    return failure(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, "unet1d: outputs of another size than was compiled for");
  if (n == 0) return 0;

  Job *job = calloc(1, sizeof *job);
  if (!job) return failure(frame, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "unet1d: no memory");
  for (int64_t i = 0; i < frame->args.size; i++) job->given[i] = args[i]->data;
  job->out = out->data;
  job->spectra = n;
  job->bands = bands;
  job->padded = padded;
  job->users = 1;
  ask_for_help(frame, job);
  take_pieces(job);
  while (__atomic_load_n(&job->done, __ATOMIC_ACQUIRE) < pieces(job)) sched_yield();
  int failed = __atomic_load_n(&job->failed, __ATOMIC_RELAXED);
  leave(job);
  return failed ? failure(frame, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "unet1d: no memory") : 0;
}
