/* The published network for many spectra: every layer of one spectrum stays near the core. Forward the whole network,
   for scoring; its convolutions forward and backward, for training.

   Convolutions of width 5 and stride 2 are two of stride 1, over even and odd positions, and those are computed by
   Winograd's F(4, 3) (Lavin & Gray 2016, arXiv 1509.09308) with the points 0, +-1, +-2 and infinity: 11 products for
   four outputs, not 20. Kernels come as they are trained, and each call transforms them once; unet1d.py lays out what is
   read here. The gradient of a strided convolution's input is a transposed convolution, and the other way round.

   Compiled for HIDDEN and CHANNELS and for the processor at hand. Every spectrum goes the same way whatever its place,
   and sums over spectra are those of a fixed number of parts, so results are the same to the last bit whatever the
   number of threads. */

#define H HIDDEN
#define C CHANNELS

/* As long vectors, and as many rows held, as divide the channels. */
#ifndef LANES
#if defined(__AVX512F__) && CHANNELS % 16 == 0
#define LANES 16
#elif defined(__AVX__) && CHANNELS % 8 == 0
#define LANES 8
#else
#define LANES 4
#endif
#endif
#if CHANNELS % 8
#define HELD 4
#endif

#include "pieces.h"

/* Rows of four outputs that are transformed together; spectra that share a pass over the dense layers' kernels; parts of
   a training batch. */
#define ROWS 8
#define SPECTRA 16
#define PARTS 8

#if HIDDEN % 256 || CHANNELS % LANES || CHANNELS % HELD
#error "sizes that do not divide"
#endif

#define ACROSS(l, s) ((l) ^ (s))
#define NEIGHBOUR(x) PICK(x, x, EACH(ACROSS, 1))
#define NEXT_PAIR(x) PICK(x, x, EACH(ACROSS, 2))

/* Of both vectors, the runs of s lanes at even places and those at odd ones, added. */
#define EVEN(l, s) ((l) / (s) * 2 * (s) + (l) % (s))
#define ODD(l, s) (EVEN(l, s) + (s))
#define RUNS(a, b, s) (PICK(a, b, EACH(EVEN, s)) + PICK(a, b, EACH(ODD, s)))

/* Means over groups of four neighbouring channels, at each of them. */
INLINE vec group_mean(vec x) {
  vec pairs = x + NEIGHBOUR(x);
  return (pairs + NEXT_PAIR(pairs)) * .25f;
}

/* The sum of the lanes of each of LANES vectors. */
INLINE vec lane_sums(vec *x) {
#if LANES >= 16
  for (int i = 0; i < 8; i++) x[i] = RUNS(x[2 * i], x[2 * i + 1], 8);
#endif
#if LANES >= 8
  for (int i = 0; i < 4; i++) x[i] = RUNS(x[2 * i], x[2 * i + 1], 4);
#endif
  for (int i = 0; i < 2; i++) x[i] = RUNS(x[2 * i], x[2 * i + 1], 2);
  return RUNS(x[0], x[1], 1);
}

/* a [rows, inner] times b [inner, columns]. */
INLINE void product(const float *a, int a_row, const float *b, int b_row, float *out, int out_row, int rows, int inner,
                    int columns) {
  any_product(a, a_row, 1, b, b_row, out, out_row, rows, inner, columns, 0);
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

/* The layers with a norm: h2, h3, h4, u4, u3. */
#define LAYERS 5
static const int LENGTH[LAYERS] = {H / 2, H / 4, H / 8, H / 4, H / 2};
static const int WIDTH[LAYERS] = {C, 2 * C, 4 * C, 2 * C, C};
static const int PLACE[LAYERS] = {0, C, 3 * C, 7 * C, 9 * C}; /* among all channels */
#define ALL (10 * C)

/* Room for them, two positions of zeros before and after each. */
typedef struct {
  ON_LINE float h2[(H / 2 + 4) * C], h3[(H / 4 + 4) * 2 * C], h4[(H / 8 + 4) * 4 * C], u4[(H / 4 + 4) * 2 * C];
  ON_LINE float u3[(H / 2 + 4) * C];
} Padded;

INLINE void firsts(Padded *p, float **first) {
  first[0] = p->h2 + 2 * C;
  first[1] = p->h3 + 4 * C;
  first[2] = p->h4 + 8 * C;
  first[3] = p->u4 + 4 * C;
  first[4] = p->u3 + 2 * C;
}

/* Kernels as they are trained, one after the other: [5, in, out] each, then the last one's bias. */
enum {
  CONV2 = 0,
  CONV3 = CONV2 + 5 * C,
  CONV4 = CONV3 + 10 * C * C,
  TCONV4 = CONV4 + 40 * C * C,
  TCONV3 = TCONV4 + 40 * C * C,
  TCONV2 = TCONV3 + 20 * C * C,
  TCONV2_BIAS = TCONV2 + 10 * C,
  KERNELS = TCONV2_BIAS + 1
};

/* Kernels at the points: [6, even in | odd in, out] of strided, [6, in, even out | odd out] of transposed convolutions.
   Those of the gradients are of the turned kernels. */
typedef struct {
  const float *plain;
  ON_LINE float conv3[24 * C * C], conv4[96 * C * C], tconv4[96 * C * C], tconv3[48 * C * C];
} Forward;

typedef struct {
  ON_LINE float conv3[24 * C * C], conv4[96 * C * C], tconv4[96 * C * C], tconv3[48 * C * C], turned[40 * C * C];
} Backward;

/* Three taps at the six points, with the interpolation's factors. */
INLINE void kernel_at_points(const float *a, const float *b, const float *c, int in, int out, float *at, int row,
                             int point) {
  for (int i = 0; i < in; i++)
    for (int o = 0; o < out; o += LANES) {
      vec x = a ? load(a + i * out + o) : all(0), y = load(b + i * out + o), z = c ? load(c + i * out + o) : all(0);
      vec sum = (x + z) / -6, half = x / 24 + z / 6;
      float *to = at + i * row + o;
      store(to, x / 4);
      store(to + point, sum - y / 6);
      store(to + 2 * point, sum + y / 6);
      store(to + 3 * point, half + y / 12);
      store(to + 4 * point, half - y / 12);
      store(to + 5 * point, z);
    }
}

INLINE void strided_at_points(const float *kernel, int in, int out, float *at) {
  const int tap = in * out, point = 2 * in * out;
  kernel_at_points(kernel, kernel + 2 * tap, kernel + 4 * tap, in, out, at, out, point);
  kernel_at_points(kernel + tap, kernel + 3 * tap, 0, in, out, at + in * out, out, point);
}

INLINE void transposed_at_points(const float *kernel, int in, int out, float *at) {
  const int tap = in * out, point = 2 * in * out;
  kernel_at_points(kernel + 4 * tap, kernel + 2 * tap, kernel, in, out, at, 2 * out, point);
  kernel_at_points(0, kernel + 3 * tap, kernel + tap, in, out, at + out, 2 * out, point);
}

static void prepare_forward(const float *kernels, Forward *f) {
  f->plain = kernels;
  strided_at_points(kernels + CONV3, C, 2 * C, f->conv3);
  strided_at_points(kernels + CONV4, 2 * C, 4 * C, f->conv4);
  transposed_at_points(kernels + TCONV4, 4 * C, 2 * C, f->tconv4);
  transposed_at_points(kernels + TCONV3, 4 * C, C, f->tconv3);
}

static const float *turned(const float *kernel, int in, int out, float *to) {
  for (int k = 0; k < 5; k++)
    for (int i = 0; i < in; i++)
      for (int o = 0; o < out; o++) to[(k * out + o) * in + i] = kernel[(k * in + i) * out + o];
  return to;
}

static void prepare_backward(const float *kernels, Backward *b) {
  transposed_at_points(turned(kernels + CONV3, C, 2 * C, b->turned), 2 * C, C, b->conv3);
  transposed_at_points(turned(kernels + CONV4, 2 * C, 4 * C, b->turned), 4 * C, 2 * C, b->conv4);
  strided_at_points(turned(kernels + TCONV4, 4 * C, 2 * C, b->turned), 2 * C, 4 * C, b->tconv4);
  strided_at_points(turned(kernels + TCONV3, 4 * C, C, b->turned), C, 4 * C, b->tconv3);
}

/* Sums over positions of a layer's outputs and of their squares, by channel. */
typedef struct {
  vec first[4 * C / LANES], second[4 * C / LANES];
} Moments;

INLINE void start(Moments *m, int channels) {
  for (int j = 0; m && j < channels / LANES; j++) m->first[j] = m->second[j] = all(0);
}

INLINE void add(Moments *m, int j, vec y) {
  if (!m) return;
  m->first[j] += y;
  m->second[j] += y * y;
}

/* Of a time (shift) and of the norm, each [10 * C]. */
typedef struct {
  const float *shift, *gain, *bias;
} Law;

/* Group norm of y + shift, for some channels: factor * y + offset, or gain * (y - mean) * scale + bias. */
typedef struct {
  vec factor, offset, mean, scale;
} Norm;

INLINE Norm norm(Law law, int place, int length, vec sum, vec sum_of_squares) {
  Norm n;
  vec shift = load(law.shift + place), first = sum / (float)length;
  vec second = sum_of_squares / (float)length + shift * (2 * first + shift);
  vec mean = group_mean(first + shift), variance = group_mean(second) - mean * mean + 1e-5f;
  for (int i = 0; i < LANES; i++) n.scale[i] = 1 / __builtin_sqrtf(variance[i]);
  n.mean = mean - shift;
  n.factor = load(law.gain + place) * n.scale;
  n.offset = load(law.bias + place) - n.mean * n.factor;
  return n;
}

/* y to its activations a, which may be the same place. */
INLINE void norm_and_swish(const float *y, float *a, int layer, Law law, const Moments *m) {
  const int length = LENGTH[layer], channels = WIDTH[layer];
  for (int j = 0; j < channels; j += LANES) {
    Norm n = norm(law, PLACE[layer] + j, length, m->first[j / LANES], m->second[j / LANES]);
    for (int i = 0; i < length; i++) {
      int at = i * channels + j;
      store(a + at, swish(load(y + at) * n.factor + n.offset));
    }
  }
}

/* Scratch of the convolutions. */
typedef struct {
  ON_LINE float points[6 * ROWS * 4 * C], products[6 * ROWS * 4 * C];
} Scratch;

/* Strided convolution of x [2 * length, in] to y [length, out]. */
INLINE void down(const float *x, int in, const float *kernel, float *y, int length, int out, Scratch *s, Moments *m) {
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

/* Transposed convolution of [a | b] [length, a_in + b_in] to y [2 * length, out]. */
INLINE void up(const float *a, int a_in, const float *b, int b_in, const float *kernel, float *y, int length, int out,
               Scratch *s, Moments *m) {
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

/* Strided convolution of one channel x [H] to y [H / 2, out]. */
INLINE void from_one_channel(const float *kernel, const float *x, float *y, int out, Moments *m) {
  start(m, out);
  for (int j = 0; j < out; j += LANES)
    for (int i = 0; i < H / 2; i++) {
      vec sum = load(kernel + j) * x[2 * i - 2];
      for (int k = 1; k < 5; k++) sum += load(kernel + k * out + j) * x[2 * i - 2 + k];
      store(y + i * out + j, sum);
      add(m, j / LANES, sum);
    }
}

/* Transposed convolution of x [H / 2, C], or of [x | more], to one channel y [H]. */
INLINE void to_one_channel(const float *kernel, float bias, const float *x, const float *more, float *y) {
  const int in = more ? 2 * C : C;
  for (int first = 0; first < H / 2; first += LANES / 2) {
    vec parts[LANES];
    for (int i = 0; i < LANES / 2; i++) {
      vec even = all(0), odd = all(0);
      for (int j = 0; j < in; j += LANES) {
        const float *at = (j < C ? x + j : more + j - C) + (first + i) * C, *tap = kernel + j;
        vec before = load(at - C), here = load(at), after = load(at + C);
        even += before * load(tap + 4 * in) + here * load(tap + 2 * in) + after * load(tap);
        odd += here * load(tap + 3 * in) + after * load(tap + in);
      }
      parts[2 * i] = even;
      parts[2 * i + 1] = odd;
    }
    store(y + 2 * first, lane_sums(parts) + bias);
  }
}

/* One spectrum's way through the convolutions: outputs y of each layer before its norm, activations a after it. */
typedef struct {
  ON_LINE float h1[2 + H + LANES];
  float *y[LAYERS], *a[LAYERS];
  Moments m[LAYERS];
  Scratch scratch;
} Way;

INLINE void u_net(const Forward *kernels, Law law, const float *h1, float *u2, Way *w) {
  Scratch *s = &w->scratch;
  memcpy(w->h1 + 2, h1, H * sizeof(float));
  from_one_channel(kernels->plain + CONV2, w->h1 + 2, w->y[0], C, &w->m[0]);
  norm_and_swish(w->y[0], w->a[0], 0, law, &w->m[0]);
  down(w->a[0], C, kernels->conv3, w->y[1], H / 4, 2 * C, s, &w->m[1]);
  norm_and_swish(w->y[1], w->a[1], 1, law, &w->m[1]);
  down(w->a[1], 2 * C, kernels->conv4, w->y[2], H / 8, 4 * C, s, &w->m[2]);
  norm_and_swish(w->y[2], w->a[2], 2, law, &w->m[2]);
  up(w->a[2], 4 * C, 0, 0, kernels->tconv4, w->y[3], H / 8, 2 * C, s, &w->m[3]);
  norm_and_swish(w->y[3], w->a[3], 3, law, &w->m[3]);
  up(w->a[3], 2 * C, w->a[1], 2 * C, kernels->tconv3, w->y[4], H / 4, C, s, &w->m[4]);
  norm_and_swish(w->y[4], w->a[4], 4, law, &w->m[4]);
  to_one_channel(kernels->plain + TCONV2, kernels->plain[TCONV2_BIAS], w->a[4], w->a[0], u2);
}

/* Sums of gradients over the spectra of a part. */
typedef struct {
  ON_LINE float kernels[KERNELS], gain[ALL], bias[ALL];
} Sums;

/* The way back: gradients of activations, and of what each norm is given. */
typedef struct {
  Way way;
  Padded y, a, d;
  ON_LINE float u2[2 + H + LANES];
  ON_LINE float of_a[LAYERS][(H / 2) * C], wide[(H / 2) * 2 * C];
} Return;

/* From the gradient of a layer's activations to that of what its norm is given. */
INLINE void through_norm(Return *r, float *d, int layer, Law law, float *shift, Sums *sums) {
  const int length = LENGTH[layer], channels = WIDTH[layer];
  const float *y = r->way.y[layer], *of_a = r->of_a[layer];
  for (int j = 0; j < channels; j += LANES) {
    const int place = PLACE[layer] + j;
    const Moments *m = &r->way.m[layer];
    Norm n = norm(law, place, length, m->first[j / LANES], m->second[j / LANES]);
    vec sum = all(0), along = all(0), total = all(0), gain = load(law.gain + place);
    for (int i = 0; i < length; i++) {
      int at = i * channels + j;
      vec x = load(y + at), z = x * n.factor + n.offset, open = sigmoid(z);
      vec back = load(of_a + at) * (open * (1 + z * (1 - open)));
      sum += back;
      along += back * ((x - n.mean) * n.scale);
      store(d + at, back);
    }
    store(sums->bias + place, load(sums->bias + place) + sum);
    store(sums->gain + place, load(sums->gain + place) + along);
    vec mean = group_mean(gain * sum) / (float)length, slope = group_mean(gain * along) / (float)length;
    for (int i = 0; i < length; i++) {
      int at = i * channels + j;
      vec back = n.scale * (gain * load(d + at) - mean - (load(y + at) - n.mean) * n.scale * slope);
      total += back;
      store(d + at, back);
    }
    store(shift + place, total);
  }
}

/* Gradients of a kernel [5, in, out], added up: of a strided convolution of x, given d [length, out] ... */
INLINE void strided_kernel(const float *x, int in, const float *d, int length, int out, float *to) {
  for (int k = 0; k < 5; k++)
    any_product(x + (k - 2) * in, 1, 2 * in, d, out, to + k * in * out, out, in, length, out, 1);
}

/* ... of a transposed one of x [length, in], given d [2 * length, out]. */
INLINE void transposed_kernel(const float *x, int in, const float *d, int length, int out, float *to, int tap) {
  for (int k = 0; k < 5; k++)
    any_product(x, 1, in, d + (k - 2) * out, 2 * out, to + k * tap, out, in, length, out, 1);
}

/* ... and of one from or to a single channel: one is that channel [H], many the other side [H / 2, C]. */
INLINE void kernel_of_one_channel(const float *one, const float *many, float *to, int tap) {
  for (int j = 0; j < C; j += LANES) {
    vec sums[5];
    for (int k = 0; k < 5; k++) sums[k] = load(to + k * tap + j);
    for (int i = 0; i < H / 2; i++) {
      vec x = load(many + i * C + j);
      for (int k = 0; k < 5; k++) sums[k] += x * one[2 * i + k - 2];
    }
    for (int k = 0; k < 5; k++) store(to + k * tap + j, sums[k]);
  }
}

INLINE void add_to(float *to, const float *from, int count) {
  for (int i = 0; i < count; i += LANES) store(to + i, load(to + i) + load(from + i));
}

/* Back through the convolutions of the spectrum whose way is in r: from the gradient of u2 to that of h1. */
INLINE void u_net_back(const float *kernels, const Backward *back, Law law, const float *of_u2, float *of_h1,
                       float *of_shift, Return *r, Sums *sums) {
  float *d[LAYERS], **a = r->way.a, *u2 = r->u2 + 2;
  Scratch *s = &r->way.scratch;
  firsts(&r->d, d);
  memcpy(u2, of_u2, H * sizeof(float));
  for (int i = 0; i < H; i++) sums->kernels[TCONV2_BIAS] += u2[i];

  from_one_channel(kernels + TCONV2, u2, r->wide, 2 * C, 0); /* to u3 and h2 */
  kernel_of_one_channel(u2, a[4], sums->kernels + TCONV2, 2 * C);
  kernel_of_one_channel(u2, a[0], sums->kernels + TCONV2 + C, 2 * C);
  for (int i = 0; i < H / 2; i++) {
    memcpy(r->of_a[4] + i * C, r->wide + i * 2 * C, C * sizeof(float));
    memcpy(r->of_a[0] + i * C, r->wide + i * 2 * C + C, C * sizeof(float));
  }

  through_norm(r, d[4], 4, law, of_shift, sums);
  down(d[4], C, back->tconv3, r->wide, H / 4, 4 * C, s, 0); /* to u4 and h3 */
  transposed_kernel(a[3], 2 * C, d[4], H / 4, C, sums->kernels + TCONV3, 4 * C * C);
  transposed_kernel(a[1], 2 * C, d[4], H / 4, C, sums->kernels + TCONV3 + 2 * C * C, 4 * C * C);
  for (int i = 0; i < H / 4; i++) {
    memcpy(r->of_a[3] + i * 2 * C, r->wide + i * 4 * C, 2 * C * sizeof(float));
    memcpy(r->of_a[1] + i * 2 * C, r->wide + i * 4 * C + 2 * C, 2 * C * sizeof(float));
  }

  through_norm(r, d[3], 3, law, of_shift, sums);
  down(d[3], 2 * C, back->tconv4, r->of_a[2], H / 8, 4 * C, s, 0);
  transposed_kernel(a[2], 4 * C, d[3], H / 8, 2 * C, sums->kernels + TCONV4, 8 * C * C);

  through_norm(r, d[2], 2, law, of_shift, sums);
  up(d[2], 4 * C, 0, 0, back->conv4, r->wide, H / 8, 2 * C, s, 0);
  strided_kernel(a[1], 2 * C, d[2], H / 8, 4 * C, sums->kernels + CONV4);
  add_to(r->of_a[1], r->wide, H / 4 * 2 * C);

  through_norm(r, d[1], 1, law, of_shift, sums);
  up(d[1], 2 * C, 0, 0, back->conv3, r->wide, H / 4, C, s, 0);
  strided_kernel(a[0], C, d[1], H / 4, 2 * C, sums->kernels + CONV3);
  add_to(r->of_a[0], r->wide, H / 2 * C);

  through_norm(r, d[0], 0, law, of_shift, sums);
  kernel_of_one_channel(r->way.h1 + 2, d[0], sums->kernels + CONV2, C);
  to_one_channel(kernels + CONV2, 0, d[0], 0, of_h1);
}

/* Layer norm of h + shift, modulation [a, b] where given, swish; in place. law is [shift, gain, bias] [H]. */
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

enum { COUNT, BANDS, PADDED };      /* sizes of a job */
enum { FORWARD, BACKWARD, GRADIENTS }; /* what it holds; gradients of each part */

/* Transform the kernels and do the job. */
static XLA_FFI_Error *transform_and_run(const XLA_FFI_CallFrame *frame, Job *job, const float *kernels, int backward,
                                        void (*finish)(Job *)) {
  Forward *forward = job->held[FORWARD] = zeros(sizeof(Forward));
  Backward *back = job->held[BACKWARD] = backward ? zeros(sizeof(Backward)) : 0;
  job->held[GRADIENTS] = backward ? zeros(PARTS * sizeof(Sums)) : 0;
  if (forward) prepare_forward(kernels, forward);
  if (back) prepare_backward(kernels, back);
  return run(frame, job, !forward || (backward && !(back && job->held[GRADIENTS])), finish);
}

/* The whole network. */
enum { FC1, NORM1, CONVOLUTIONS, LAWS, OUT, OUT_BIAS, X, MODULATION };

typedef struct {
  Way way;
  Padded a;
  ON_LINE float u2_h1[SPECTRA * 2 * H];
  ON_LINE float rest[]; /* spectra [SPECTRA, bands], outputs [SPECTRA, padded] */
} Room;

static void network_piece(const Job *job, int64_t piece, void *given_room) {
  Room *room = given_room;
  const int64_t bands = job->size[BANDS], padded = job->size[PADDED], first = piece * SPECTRA;
  const int64_t left = job->size[COUNT] - first;
  const int here = left < SPECTRA ? left : SPECTRA;
  float *x = room->rest, *out = x + SPECTRA * bands, *const *given = (float *const *)job->given;
  const Law law = {given[LAWS], given[LAWS] + ALL, given[LAWS] + 2 * ALL};
  firsts(&room->a, room->way.a);
  firsts(&room->a, room->way.y);
  memcpy(x, given[X] + first * bands, here * bands * sizeof(float));
  product(x, bands, given[FC1], H, room->u2_h1 + H, 2 * H, SPECTRA, bands, H);
  for (int i = 0; i < here; i++) {
    float *u2 = room->u2_h1 + i * 2 * H, *h1 = u2 + H;
    first_norm(h1, given[NORM1], given[MODULATION] ? given[MODULATION] + (first + i) * 2 * H : 0);
    u_net(job->held[FORWARD], law, h1, u2, &room->way);
  }
  product(room->u2_h1, 2 * H, given[OUT], padded, out, padded, SPECTRA, 2 * H, padded);
  for (int i = 0; i < here; i++)
    for (int64_t j = 0; j < bands; j++)
      makes(job, 0)[(first + i) * bands + j] = out[i * padded + j] + given[OUT_BIAS][j];
}

/* All of the above -> outputs [spectra, bands]. */
XLA_FFI_Error *network(XLA_FFI_CallFrame *frame) {
  if (answered(frame)) return 0;
  const int64_t n = axis(frame, X, 0), bands = axis(frame, X, 1), padded = axis(frame, OUT_BIAS, 0);
  const int modulated = frame->args.size > MODULATION;
  const Array given[] = {F32(bands * H), F32(3 * H), F32(KERNELS), F32(3 * ALL), F32(2 * H * padded), F32(padded),
                         F32(n * bands), F32(n * 2 * H)};
  if (!fit(frame, given, MODULATION + modulated, &given[X], 1) || padded < bands || padded % LANES) return unfit(frame);
  const size_t room = sizeof(Room) + SPECTRA * (bands + padded) * sizeof(float);
  Job *job = begin(frame, network_piece, room, (n + SPECTRA - 1) / SPECTRA);
  if (!job) return no_memory(frame);
  job->size[COUNT] = n, job->size[BANDS] = bands, job->size[PADDED] = padded;
  return transform_and_run(frame, job, argument(frame, CONVOLUTIONS)->data, 0, 0);
}

/* The convolutions alone, each spectrum at a time of its own. */
enum { STACK, GAINS, BIASES, SHIFTS, H1, OF_U2 };
enum { OF_STACK, OF_GAINS, OF_BIASES, OF_SHIFTS, OF_H1 };

static int64_t part_start(const Job *job, int64_t part) { return job->size[COUNT] * part / PARTS; }

static Law law_of(const Job *job, int64_t i) {
  Law law = {reads(job, SHIFTS) + i * ALL, reads(job, GAINS), reads(job, BIASES)};
  return law;
}

static void stack_piece(const Job *job, int64_t part, void *room) {
  Return *r = room;
  firsts(&r->a, r->way.a);
  firsts(&r->a, r->way.y);
  for (int64_t i = part_start(job, part); i < part_start(job, part + 1); i++)
    u_net(job->held[FORWARD], law_of(job, i), reads(job, H1) + i * H, makes(job, 0) + i * H, &r->way);
}

static void gradient_piece(const Job *job, int64_t part, void *room) {
  Return *r = room;
  Sums *sums = (Sums *)job->held[GRADIENTS] + part;
  firsts(&r->a, r->way.a);
  firsts(&r->y, r->way.y);
  for (int64_t i = part_start(job, part); i < part_start(job, part + 1); i++) {
    const Law law = law_of(job, i);
    u_net(job->held[FORWARD], law, reads(job, H1) + i * H, r->wide, &r->way);
    u_net_back(reads(job, STACK), job->held[BACKWARD], law, reads(job, OF_U2) + i * H, makes(job, OF_H1) + i * H,
               makes(job, OF_SHIFTS) + i * ALL, r, sums);
  }
}

static void add_parts(Job *job) {
  Sums *sums = job->held[GRADIENTS];
  for (int part = 1; part < PARTS; part++)
    for (size_t i = 0; i < sizeof(Sums) / sizeof(float); i++)
      ((float *)sums)[i] += ((float *)&sums[part])[i];
  memcpy(job->made[OF_STACK], sums->kernels, sizeof sums->kernels);
  memcpy(job->made[OF_GAINS], sums->gain, sizeof sums->gain);
  memcpy(job->made[OF_BIASES], sums->bias, sizeof sums->bias);
}

static XLA_FFI_Error *stack_call(XLA_FFI_CallFrame *frame, int backward) {
  if (answered(frame)) return 0;
  const int64_t n = axis(frame, H1, 0);
  const Array given[] = {F32(KERNELS), F32(ALL), F32(ALL), F32(n * ALL), F32(n * H), F32(n * H)};
  if (!fit(frame, given, backward ? 6 : 5, backward ? given : &given[OF_U2], backward ? 5 : 1)) return unfit(frame);
  Job *job = begin(frame, backward ? gradient_piece : stack_piece, sizeof(Return), PARTS);
  if (!job) return no_memory(frame);
  job->size[COUNT] = n;
  return transform_and_run(frame, job, argument(frame, STACK)->data, backward, backward ? add_parts : 0);
}

/* kernels, gains, biases, shifts [spectra, 10 * C], h1 [spectra, H] -> u2 [spectra, H] */
XLA_FFI_Error *stack(XLA_FFI_CallFrame *frame) { return stack_call(frame, 0); }

/* The same and the gradient of u2 -> those of all five. */
XLA_FFI_Error *stack_gradient(XLA_FFI_CallFrame *frame) { return stack_call(frame, 1); }
