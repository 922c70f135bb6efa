/* Scores in closed form, for many pixels: lengths of the scores of the rings' empirical densities and Gaussians, and of
   the whole scene's empirical density. closed_form.py says what they are; its programs for XLA do the same.

   Neighbouring pixels of a row lie in the lanes of vectors and go the same way whatever their place, so results are the
   same to the last bit whatever the number of threads and however a scene is cut. */

#include "pieces.h"

#if defined(__AVX__)
#include <immintrin.h>
#endif

/* Pixels that share a pass over the references; references that are compared with at once. */
#define SPECTRA 64
#define TILE (2 * LANES)
#define UP(n) (((n) + LANES - 1) / LANES * LANES)

INLINE vec smaller(vec a, vec b) { return where(a < b, a, b); }
INLINE vec larger(vec a, vec b) { return where(a > b, a, b); }

INLINE vec root(vec x) {
  for (int i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
  return x;
}

/* A bit for each lane. */
INLINE uint32_t lanes_where(ivec condition) {
#if defined(__AVX512F__) && LANES == 16
  return _mm512_test_epi32_mask((__m512i)condition, (__m512i)condition);
#elif defined(__AVX__) && LANES == 8
  return _mm256_movemask_ps((__m256)condition);
#else
  uint32_t found = 0;
  for (int i = 0; i < LANES; i++) found |= (uint32_t)(condition[i] & 1) << i;
  return found;
#endif
}

INLINE int64_t largest(const int32_t *of, int64_t count) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; i++) found = of[i] > found ? of[i] : found;
  return found;
}

/* What both ring-conditional scores are given. */
enum { COORDINATES, THERE, SIZES, RINGS, FREE, STARTS };
enum { COMPONENTS, PLACES, OF_RINGS, OF_COUNTS };
enum { WIDTH, HALF, CHUNK };

INLINE int64_t size_of(const Job *job, int which) { return ((const int32_t *)job->given[SIZES])[which]; }
INLINE int64_t inner_of(const Job *job, int64_t ring) { return ((const int32_t *)job->given[RINGS])[2 * ring] / 2; }
INLINE int64_t outer_of(const Job *job, int64_t ring) { return ((const int32_t *)job->given[RINGS])[2 * ring + 1] / 2; }

/* Where a row of a plane around a chunk begins in the block's list of places. */
INLINE int64_t row_start(const Job *job, int64_t piece, int64_t row) {
  const int64_t half = size_of(job, HALF), width = size_of(job, WIDTH);
  return ((const int32_t *)job->given[STARTS])[piece] + (row - half) * width - half;
}

/* What surrounds a chunk: planes [rows, components, span], rows and components so many floats apart. */
typedef struct {
  int64_t half, rows, span, chunk, components;
} Around;

INLINE Around around_of(const Job *job) {
  const int64_t half = size_of(job, HALF), chunk = size_of(job, CHUNK);
  return (Around){half, 2 * half + 1, UP(chunk + 2 * half), chunk, job->size[COMPONENTS]};
}

/* Squared distances of LANES pixels x to neighbours y that follow each other. A plane's first row tells what is added:
   infinity where there is none. */
INLINE void some_distances(Around is, const float *x, const float *y, int count, float *distance) {
  vec sums[4];
  for (int q = 0; q < count; q++) sums[q] = load(y + q);
  for (int64_t c = 0; c < is.components; c++) {
    const vec own = load(x + c * is.span);
    for (int q = 0; q < count; q++) {
      const vec apart = load(y + (1 + c) * is.span + q) - own;
      sums[q] += apart * apart;
    }
  }
  for (int q = 0; q < count; q++) store(distance + q * LANES, sums[q]);
}

/* Those to all within the window, [rows, rows, LANES]. */
INLINE void distances(Around is, const float *around, int64_t first, float *distance) {
  const int64_t down = (1 + is.components) * is.span;
  const float *x = around + is.half * down + is.span + is.half + first;
  for (int64_t row = 0; row < is.rows; row++, distance += is.rows * LANES) {
    const float *y = around + row * down + first;
    int64_t column = 0;
    for (; column + 4 <= is.rows; column += 4) some_distances(is, x, y + column, 4, distance + column * LANES);
    for (; column < is.rows; column++) some_distances(is, x, y + column, 1, distance + column * LANES);
  }
}

/* The smallest of the distances within a ring, from the least on; returns how many of its pixels are there. */
INLINE vec nearest_of_ring(const float *distance, int64_t rows, int64_t hole, int64_t reach, int64_t most,
                           float *best) {
  vec known = all(0);
  for (int64_t k = 0; k < most; k++) store(best + k * LANES, all(__builtin_inff()));
  for (int64_t down = -reach; down <= reach; down++)
    for (int64_t right = -reach; right <= reach; right++) {
      if (right == -hole && down >= -hole && down <= hole) {
        right = hole;
        continue;
      }
      vec value = load(distance + ((rows / 2 + down) * rows + rows / 2 + right) * LANES);
      known += where(value < __builtin_inff(), all(1), all(0));
      if (!lanes_where(value < load(best + (most - 1) * LANES))) continue;
      for (int64_t k = 0; k < most; k++) {
        const vec kept = load(best + k * LANES);
        store(best + k * LANES, smaller(kept, value));
        value = larger(kept, value);
      }
    }
  return known;
}

/* Mean distance to the nearest, their number scaled by the part of the ring that is there. */
INLINE vec mean_distance(const float *best, int64_t most, vec wanted) {
  vec total = all(0), weights = all(0);
  for (int64_t rank = 0; rank < most; rank++) {
    const vec squared = load(best + rank * LANES), weight = smaller(larger(wanted - (float)rank, all(0)), all(1));
    total += root(where(squared < __builtin_inff(), squared, all(0))) * weight;
    weights += weight;
  }
  return total / weights;
}

/* FREE: numbers of neighbours. */
static void nearest_piece(const Job *job, int64_t piece, void *room) {
  const Around is = around_of(job);
  const int64_t places = job->size[PLACES], rings = job->size[OF_RINGS], counts = job->size[OF_COUNTS];
  const int64_t length = is.chunk + 2 * is.half;
  const int32_t *count = job->given[FREE];
  const int64_t longest = largest(count, counts);
  const uint8_t *there = job->given[THERE];
  float *around = room, *distance = around + is.rows * (1 + is.components) * is.span;
  float *best = distance + is.rows * is.rows * LANES, *out = makes(job, 0) + piece * is.chunk * rings * counts;
  for (int64_t row = 0; row < is.rows; row++) {
    float *to = around + row * (1 + is.components) * is.span;
    const int64_t from = row_start(job, piece, row);
    for (int64_t i = 0; i < length; i++) to[i] = there[from + i] ? 0 : __builtin_inff();
    for (int64_t c = 0; c < is.components; c++)
      memcpy(to + (1 + c) * is.span, reads(job, COORDINATES) + c * places + from, length * sizeof(float));
  }
  for (int64_t first = 0; first < is.chunk; first += LANES) {
    distances(is, around, first, distance);
    for (int64_t ring = 0; ring < rings; ring++) {
      const int64_t hole = inner_of(job, ring), reach = outer_of(job, ring);
      const int64_t size = (2 * reach + 1) * (2 * reach + 1) - (2 * hole + 1) * (2 * hole + 1);
      const int64_t most = longest < size ? longest : size;
      const vec known = nearest_of_ring(distance, is.rows, hole, reach, most, best);
      for (int64_t k = 0; k < counts; k++) {
        const vec wanted = larger(known / (float)size * (float)count[k], all(1));
        const vec mean = where(known > 0, mean_distance(best, most, wanted), all(__builtin_nanf("")));
        for (int i = 0; i < LANES; i++) out[((first + i) * rings + ring) * counts + k] = mean[i];
      }
    }
  }
}

/* One of the sizes; -1 where they are not given. */
static int64_t asked(const XLA_FFI_CallFrame *frame, int which) {
  return axis(frame, SIZES, 0) > which ? ((const int32_t *)argument(frame, SIZES)->data)[which] : -1;
}

static Job *ring_job(const XLA_FFI_CallFrame *frame, void (*one_piece)(const Job *, int64_t, void *), int64_t floats) {
  Job *job = begin(frame, one_piece, floats * sizeof(float), axis(frame, STARTS, 0));
  if (!job) return 0;
  job->size[COMPONENTS] = axis(frame, COORDINATES, 0), job->size[PLACES] = axis(frame, COORDINATES, 1);
  job->size[OF_RINGS] = axis(frame, RINGS, 0), job->size[OF_COUNTS] = axis(frame, FREE, 0);
  return job;
}

/* coordinates [components, places], there [places], (width, half, chunk), rings [rings, 2], numbers of neighbours
   [counts], starts [chunks] -> [chunks, chunk, rings, counts] */
XLA_FFI_Error *ring_nearest(XLA_FFI_CallFrame *frame) {
  if (answered(frame)) return 0;
  const int64_t components = axis(frame, COORDINATES, 0), places = axis(frame, COORDINATES, 1);
  const int64_t rings = axis(frame, RINGS, 0), counts = axis(frame, FREE, 0), chunks = axis(frame, STARTS, 0);
  const Array given[] = {F32(components * places), BOOL(places), S32(3), S32(2 * rings), S32(counts), S32(chunks)};
  const int64_t half = asked(frame, HALF), chunk = asked(frame, CHUNK), rows = 2 * half + 1;
  const Array made[] = {F32(chunks * chunk * rings * counts)};
  if (!fit(frame, given, STARTS + 1, made, 1) || chunk % LANES) return unfit(frame);
  const int64_t longest = largest(argument(frame, FREE)->data, counts);
  const int64_t around = rows * (1 + components) * UP(chunk + 2 * half);
  Job *job = ring_job(frame, nearest_piece, around + (rows * rows + longest) * LANES);
  return job ? run(frame, job, 0, 0) : no_memory(frame);
}

/* Sums over each ring of the products of two planes, [rings, ring apart, chunk]. */
INLINE void sums_over_rings(const Job *job, Around is, const float *left, const float *right, int64_t down, float *room,
                            float *to, int64_t apart) {
  float *shells = room, *beside = shells + (is.half + 1) * is.span, *both = beside + is.span;
  /* rows that lie as far above and below, added */
  for (int64_t v = 0; v < is.span; v += LANES) store(shells + v, load(left + v) * load(right + v));
  for (int64_t k = 1; k <= is.half; k++)
    for (int64_t v = 0; v < is.span; v += LANES)
      store(shells + k * is.span + v, load(left + k * down + v) * load(right + k * down + v) +
                                          load(left - k * down + v) * load(right - k * down + v));
  for (int64_t ring = 0; ring < job->size[OF_RINGS]; ring++, to += apart) {
    /* Rows that miss the hole whole, the others on either side of it: in the difference of two windows a bright pixel
       in the hole would leave its rounding. */
    const int64_t hole = inner_of(job, ring), reach = outer_of(job, ring);
    for (int64_t v = 0; v < is.span; v += LANES) {
      vec outside = load(shells + (hole + 1) * is.span + v), inside = load(shells + v);
      for (int64_t k = hole + 2; k <= reach; k++) outside += load(shells + k * is.span + v);
      for (int64_t k = 1; k <= hole; k++) inside += load(shells + k * is.span + v);
      store(beside + v, outside);
      store(both + v, outside + inside);
    }
    for (int64_t v = 0; v < is.chunk; v += LANES) {
      const float *b = beside + is.half + v, *w = both + is.half + v;
      vec sum = load(b), more = load(w - hole - 1) + load(w + hole + 1);
      for (int64_t k = 1; k <= hole; k++) sum += load(b - k) + load(b + k);
      for (int64_t k = hole + 2; k <= reach; k++) more += load(w - k) + load(w + k);
      store(to + v, sum + more);
    }
  }
}

/* The length of LANES pixels' scores from their moments, [pairs, chunk], and their coordinates, [components, chunk]. */
INLINE vec length_of_score(Around is, const float *sums, const float *own, float ridge, float *room) {
  const int64_t sizes = is.components + 1, pairs = sizes * (sizes + 1) / 2;
  const float *means = sums + (pairs - sizes) * is.chunk;
  const vec count = load(means + is.components * is.chunk), fewer = larger(count, all(1));
  /* The Schur complement of A in [[A, x], [x', 0]] is -x' A^-1 x, by elimination. */
  float *a = room, *factor = a + pairs * LANES, *last = a + (pairs - sizes) * LANES;
  vec most = all(0);
  for (int64_t i = 0; i < is.components; i++) {
    float *row = a + i * (i + 1) / 2 * LANES;
    const vec mean = load(means + i * is.chunk) / fewer, x = load(own + i * is.chunk) - mean;
    for (int64_t j = 0; j <= i; j++) {
      const vec product = mean * (load(means + j * is.chunk) / fewer);
      store(row + j * LANES, load(sums + (i * (i + 1) / 2 + j) * is.chunk) / fewer - product + (i == j ? ridge : 0));
    }
    store(last + i * LANES, x);
    most += x * x;
  }
  store(last + is.components * LANES, all(0));
  for (int64_t k = 0; k < is.components; k++) {
    const vec pivot = 1 / larger(load(a + (k * (k + 1) / 2 + k) * LANES), all(ridge));
    for (int64_t i = k + 1; i < sizes; i++) store(factor + i * LANES, load(a + (i * (i + 1) / 2 + k) * LANES));
    for (int64_t i = k + 1; i < sizes; i++) {
      float *row = a + i * (i + 1) / 2 * LANES;
      const vec times = load(factor + i * LANES) * pivot;
      for (int64_t j = k + 1; j <= i; j++)
        store(row + j * LANES, load(row + j * LANES) - times * load(factor + j * LANES));
    }
  }
  /* What it can be at most, and what stays of it where the moments of spectra that are all alike, but far from the mean
     of the scene, have lost their digits. */
  const vec squared = -load(last + is.components * LANES), bound = most / ridge;
  return where(count > 0, root(where(squared < bound, squared, bound)), all(__builtin_nanf("")));
}

/* In the Gaussians' own metric. FREE: the ridge. */
static void gaussian_piece(const Job *job, int64_t piece, void *room) {
  const Around is = around_of(job);
  const int64_t places = job->size[PLACES], rings = job->size[OF_RINGS], length = is.chunk + 2 * is.half;
  const int64_t sizes = is.components + 1, pairs = sizes * (sizes + 1) / 2, down = sizes * is.span;
  const float *coordinates = reads(job, COORDINATES), ridge = *reads(job, FREE);
  const uint8_t *there = job->given[THERE];
  float *known = room; /* coordinates, and a one beside them: their products hold number, sum and sum of products */
  float *own = known + is.rows * down, *moments = own + is.components * is.chunk;
  float *rest = moments + rings * pairs * is.chunk, *out = makes(job, 0) + piece * is.chunk * rings;
  for (int64_t row = 0; row < is.rows; row++) {
    float *to = known + row * down, *one = to + is.components * is.span;
    const int64_t from = row_start(job, piece, row);
    for (int64_t i = 0; i < length; i++) one[i] = there[from + i] ? 1 : 0;
    for (int64_t c = 0; c < is.components; c++)
      for (int64_t i = 0; i < length; i++) to[c * is.span + i] = coordinates[c * places + from + i] * one[i];
  }
  const int64_t first = row_start(job, piece, is.half) + is.half;
  for (int64_t c = 0; c < is.components; c++)
    memcpy(own + c * is.chunk, coordinates + c * places + first, is.chunk * sizeof(float));
  float *to = moments;
  for (int64_t i = 0; i < sizes; i++)
    for (int64_t j = 0; j <= i; j++, to += is.chunk) {
      const float *middle = known + is.half * down;
      sums_over_rings(job, is, middle + i * is.span, middle + j * is.span, down, rest, to, pairs * is.chunk);
    }
  for (int64_t ring = 0; ring < rings; ring++)
    for (int64_t v = 0; v < is.chunk; v += LANES) {
      const vec found = length_of_score(is, moments + ring * pairs * is.chunk + v, own + v, ridge, rest);
      for (int i = 0; i < LANES; i++) out[(v + i) * rings + ring] = found[i];
    }
}

/* coordinates [components, places], there [places], (width, half, chunk), rings [rings, 2], ridge [], starts [chunks]
   -> [chunks, chunk, rings] */
XLA_FFI_Error *ring_gaussian(XLA_FFI_CallFrame *frame) {
  if (answered(frame)) return 0;
  const int64_t components = axis(frame, COORDINATES, 0), places = axis(frame, COORDINATES, 1);
  const int64_t rings = axis(frame, RINGS, 0), chunks = axis(frame, STARTS, 0);
  const Array given[] = {F32(components * places), BOOL(places), S32(3), S32(2 * rings), F32(1), S32(chunks)};
  const int64_t half = asked(frame, HALF), chunk = asked(frame, CHUNK), rows = 2 * half + 1;
  const Array made[] = {F32(chunks * chunk * rings)};
  if (!fit(frame, given, STARTS + 1, made, 1) || chunk % LANES) return unfit(frame);
  const int64_t sizes = components + 1, pairs = sizes * (sizes + 1) / 2, span = UP(chunk + 2 * half);
  const int64_t sums = (half + 3) * span, eliminated = (pairs + sizes) * LANES; /* one after the other */
  Job *job = ring_job(frame, gaussian_piece, rows * sizes * span + (components + rings * pairs) * chunk +
                                                 (sums > eliminated ? sums : eliminated));
  return job ? run(frame, job, 0, 0) : no_memory(frame);
}

/* Mean distance to the nearest spectra of the whole scene. */
enum { REFERENCES, THEIR_PLACES, NEAREST, X, PLACE };
enum { DIMENSIONS, TILES, PIXELS, KEPT };
enum { TABLE, LENGTHS };

/* Values kept of a pixel: a place for less than all, then the smallest from the least on, more than are wanted. */
INLINE int64_t kept_length(int64_t kept) { return LANES + UP(kept); }

INLINE void keep(float *smallest, int64_t kept, float value) {
  for (int64_t k = UP(kept) - LANES; k >= 0; k -= LANES)
    store(smallest + k, larger(load(smallest + k - 1), smaller(load(smallest + k), all(value))));
}

static void scene_piece(const Job *job, int64_t piece, void *room) {
  const int64_t dimensions = job->size[DIMENSIONS], kept = job->size[KEPT], first = piece * SPECTRA;
  const int64_t left = job->size[PIXELS] - first, here = left < SPECTRA ? left : SPECTRA, length = kept_length(kept);
  const int32_t *their_places = job->given[THEIR_PLACES], *place = (const int32_t *)job->given[PLACE] + first;
  float *x = room, *products = x + SPECTRA * dimensions, *best = products + SPECTRA * TILE;
  float *own = best + SPECTRA * length; /* squared lengths */
  memcpy(x, reads(job, X) + first * dimensions, here * dimensions * sizeof(float));
  for (int64_t i = 0; i < here; i++) {
    own[i] = 0;
    for (int64_t c = 0; c < dimensions; c++) own[i] += x[i * dimensions + c] * x[i * dimensions + c];
    for (int64_t k = 0; k < length; k++) best[i * length + k] = k < LANES ? -__builtin_inff() : __builtin_inff();
  }
  for (int64_t tile = 0; tile < job->size[TILES]; tile++) {
    const float *table = (const float *)job->held[TABLE] + tile * dimensions * TILE;
    const float *lengths = (const float *)job->held[LENGTHS] + tile * TILE;
    for (int64_t i = 0; i < here; i += HELD)
      held_product(x + i * dimensions, dimensions, 1, table, TILE, products + i * TILE, TILE, dimensions, 2, 0);
    for (int64_t i = 0; i < here; i++) {
      float *smallest = best + i * length + LANES, *squared = products + i * TILE;
      const vec a = own[i] + load(lengths) - 2 * load(squared);
      const vec b = own[i] + load(lengths + LANES) - 2 * load(squared + LANES);
      const float most = smallest[kept - 1];
      uint64_t nearer = lanes_where(a < most) | (uint64_t)lanes_where(b < most) << LANES;
      if (!nearer) continue;
      store(squared, a), store(squared + LANES, b);
      for (; nearer; nearer &= nearer - 1) {
        const int j = __builtin_ctzll(nearer);
        if (their_places[tile * TILE + j] != place[i]) keep(smallest, kept, squared[j]);
      }
    }
  }
  for (int64_t i = 0; i < here; i++) {
    float total = 0;
    for (int64_t k = 0; k < kept; k++) {
      const float squared = best[i * length + LANES + k];
      total += __builtin_sqrtf(squared > 0 ? squared : 0);
    }
    makes(job, 0)[first + i] = total / kept;
  }
}

/* references [references, dimensions], their places [references], how many are nearest [1], x [pixels, dimensions],
   their places [pixels] -> [pixels] */
XLA_FFI_Error *scene_nearest(XLA_FFI_CallFrame *frame) {
  if (answered(frame)) return 0;
  const int64_t references = axis(frame, REFERENCES, 0), dimensions = axis(frame, REFERENCES, 1);
  const int64_t pixels = axis(frame, X, 0), tiles = (references + TILE - 1) / TILE;
  const Array given[] = {F32(references * dimensions), S32(references), S32(1), F32(pixels * dimensions), S32(pixels)};
  const Array made[] = {F32(pixels)};
  if (!fit(frame, given, PLACE + 1, made, 1)) return unfit(frame);
  const int64_t kept = *(const int32_t *)argument(frame, NEAREST)->data;
  const size_t room = SPECTRA * (dimensions + TILE + kept_length(kept) + 1) * sizeof(float);
  Job *job = begin(frame, scene_piece, room, (pixels + SPECTRA - 1) / SPECTRA);
  if (!job) return no_memory(frame);
  job->size[DIMENSIONS] = dimensions, job->size[TILES] = tiles, job->size[PIXELS] = pixels, job->size[KEPT] = kept;
  float *table = job->held[TABLE] = zeros(tiles * dimensions * TILE * sizeof(float));
  float *lengths = job->held[LENGTHS] = zeros(tiles * TILE * sizeof(float));
  if (table && lengths)
    for (int64_t j = 0; j < tiles * TILE; j++) {
      if (j >= references) {
        lengths[j] = __builtin_inff();
        continue;
      }
      const float *from = reads(job, REFERENCES) + j * dimensions;
      for (int64_t c = 0; c < dimensions; c++) {
        table[(j / TILE * dimensions + c) * TILE + j % TILE] = from[c];
        lengths[j] += from[c] * from[c];
      }
    }
  return run(frame, job, !(table && lengths), 0);
}
