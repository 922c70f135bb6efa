/* What the sources share: vectors, products of matrices, and calls whose work is done in pieces by XLA's threads. */

#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "xla/ffi/api/c_api.h"

#ifndef LANES
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#endif

/* Rows of a product whose sums are held in registers: 16 registers of sums of 32, or 8 of 16. */
#ifndef HELD
#if defined(__AVX512F__) || defined(__aarch64__)
#define HELD 8
#else
#define HELD 4
#endif
#endif

#define LINE 64
#define ON_LINE __attribute__((aligned(LINE)))
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

INLINE vec load(const float *from) { return *(const vec *)from; }
INLINE void store(float *to, vec x) { *(vec *)to = x; }

INLINE vec all(float x) {
  vec r;
  for (int i = 0; i < LANES; i++) r[i] = x;
  return r;
}

INLINE vec where(ivec condition, vec a, vec b) { return (vec)((condition & (ivec)a) | (~condition & (ivec)b)); }

/* a [HELD, inner] times b [inner, LANES * vectors], to out or added to it; a's rows and columns any steps apart. */
INLINE void held_product(const float *a, int a_row, int a_column, const float *b, int b_row, float *out, int out_row,
                         int inner, int vectors, int added) {
  vec sums[HELD][2];
  for (int r = 0; r < HELD; r++)
    for (int j = 0; j < vectors; j++) sums[r][j] = added ? load(out + (size_t)r * out_row + j * LANES) : all(0);
  for (int k = 0; k < inner; k++) {
    vec row[2];
    for (int j = 0; j < vectors; j++) row[j] = load(b + (size_t)k * b_row + j * LANES);
#pragma GCC unroll 8
    for (int r = 0; r < HELD; r++)
      for (int j = 0; j < vectors; j++) sums[r][j] += row[j] * a[(size_t)r * a_row + (size_t)k * a_column];
  }
  for (int r = 0; r < HELD; r++)
    for (int j = 0; j < vectors; j++) store(out + (size_t)r * out_row + j * LANES, sums[r][j]);
}

/* 1/x for normal x > 0: Newton's steps from a guess by the exponent, cheaper than a division. */
INLINE vec reciprocal(vec x) {
  vec y = (vec)(0x7EF311C7 - (ivec)x);
  for (int i = 0; i < 3; i++) y = y * (2 - x * y);
  return y;
}

/* 1 / (1 + exp(-x)), with 2^f by a polynomial (relative error 1e-7). */
INLINE vec sigmoid(vec x) {
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
  return reciprocal(1 + (vec)((ivec)p + ((ivec)shifted << 23)));
}

INLINE vec swish(vec x) { return x * sigmoid(x); }

#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#if LANES == 16
#define EACH(f, s)                                                                                              \
  f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), f(8, s), f(9, s), f(10, s), f(11, s), \
    f(12, s), f(13, s), f(14, s), f(15, s)
#elif LANES == 8
#define EACH(f, s) f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s)
#else
#define EACH(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#endif
#define TO_FIRST(l, s) ((l) & (s) ? LANES + (l) - (s) : (l))
#define TO_SECOND(l, s) ((l) & (s) ? LANES + (l) : (l) + (s))
#define EXCHANGE(x, s)                              \
  for (int i = 0; i < LANES; i++)                   \
    if (!(i & (s))) {                               \
      const vec a = x[i], b = x[i + (s)];           \
      x[i] = PICK(a, b, EACH(TO_FIRST, s));         \
      x[i + (s)] = PICK(a, b, EACH(TO_SECOND, s));  \
    }

/* LANES vectors, rows of a square, to its columns. */
INLINE void turn(vec *x) {
  EXCHANGE(x, 1)
  EXCHANGE(x, 2)
#if LANES >= 8
  EXCHANGE(x, 4)
#endif
#if LANES >= 16
  EXCHANGE(x, 8)
#endif
}

/* held_product for rows a multiple of HELD and columns of LANES. */
INLINE void any_product(const float *a, int a_row, int a_column, const float *b, int b_row, float *out, int out_row,
                        int rows, int inner, int columns, int added) {
  int n = 0;
  for (; n + 2 * LANES <= columns; n += 2 * LANES)
    for (int r = 0; r < rows; r += HELD)
      held_product(a + (size_t)r * a_row, a_row, a_column, b + n, b_row, out + (size_t)r * out_row + n, out_row, inner, 2,
                   added);
  for (; n < columns; n += LANES)
    for (int r = 0; r < rows; r += HELD)
      held_product(a + (size_t)r * a_row, a_row, a_column, b + n, b_row, out + (size_t)r * out_row + n, out_row, inner, 1,
                   added);
}

/* One call's work, in pieces. Whoever has time takes the next one; the call waits for those that others took. */
#define MOST 64
typedef struct Job {
  void (*one_piece)(const struct Job *, int64_t piece, void *room);
  size_t room; /* of a thread */
  int64_t pieces;
  int64_t size[4];
  void *given[MOST], *made[MOST];
  void *held[3]; /* what all pieces read or fill; freed after the last */
  int64_t next, done, users;
  int failed;
} Job;

INLINE const float *reads(const Job *job, int i) { return job->given[i]; }
INLINE float *makes(const Job *job, int i) { return job->made[i]; }

/* On a cache line's edge, or every load of a long vector would be two; zeros. */
static void *zeros(size_t size) {
  void *room = 0;
  return posix_memalign(&room, LINE, size) ? 0 : memset(room, 0, size);
}

static void leave(Job *job) {
  if (__atomic_sub_fetch(&job->users, 1, __ATOMIC_ACQ_REL)) return;
  for (size_t i = 0; i < sizeof job->held / sizeof *job->held; i++) free(job->held[i]);
  free(job);
}

static void take_pieces(Job *job) {
  void *room = 0;
  for (int64_t piece; (piece = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED)) < job->pieces;) {
    if (!room) room = zeros(job->room);
    if (room)
      job->one_piece(job, piece, room);
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
  int64_t wanted = (threads < job->pieces ? threads : job->pieces) - 1;
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

static XLA_FFI_Error *no_memory(const XLA_FFI_CallFrame *frame) {
  return failure(frame, XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "native code: no memory");
}

static XLA_FFI_Error *unfit(const XLA_FFI_CallFrame *frame) {
  return failure(frame, XLA_FFI_Error_Code_INVALID_ARGUMENT, "native code: an array of another size than expected");
}

static int answered(XLA_FFI_CallFrame *frame) {
  if (frame->extension_start && frame->extension_start->type == XLA_FFI_Extension_Metadata) {
    XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)frame->extension_start)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    metadata->traits = 0;
    return 1;
  }
  return frame->stage != XLA_FFI_ExecutionStage_EXECUTE;
}

static XLA_FFI_Buffer *argument(const XLA_FFI_CallFrame *frame, int64_t i) { return frame->args.args[i]; }
static XLA_FFI_Buffer *result(const XLA_FFI_CallFrame *frame, int64_t i) { return frame->rets.rets[i]; }

/* How long an axis of an argument is; -1 where there is none. */
static int64_t axis(const XLA_FFI_CallFrame *frame, int64_t i, int64_t number) {
  return i < frame->args.size && number < argument(frame, i)->rank ? argument(frame, i)->dims[number] : -1;
}

/* What an array must be. */
typedef struct {
  XLA_FFI_DataType kind;
  int64_t count;
} Array;

#define F32(count) {XLA_FFI_DataType_F32, count}
#define S32(count) {XLA_FFI_DataType_S32, count}
#define BOOL(count) {XLA_FFI_DataType_PRED, count}

static int holds(const XLA_FFI_Buffer *buffer, Array expected) {
  int64_t count = 1;
  for (int64_t i = 0; i < buffer->rank; i++) count *= buffer->dims[i];
  return buffer->dtype == expected.kind && count == expected.count;
}

/* Whether all arrays are as expected. */
static int fit(const XLA_FFI_CallFrame *frame, const Array *given, int64_t count, const Array *made, int64_t results) {
  if (frame->args.size != count || frame->rets.size != results) return 0;
  for (int64_t i = 0; i < count; i++)
    if (!holds(argument(frame, i), given[i])) return 0;
  for (int64_t i = 0; i < results; i++)
    if (!holds(result(frame, i), made[i])) return 0;
  return 1;
}

/* Begin a job; 0 where there is no memory. */
static Job *begin(const XLA_FFI_CallFrame *frame, void (*one_piece)(const Job *, int64_t, void *), size_t room,
                  int64_t pieces) {
  Job *job = calloc(1, sizeof *job);
  if (!job) return 0;
  job->one_piece = one_piece, job->room = room, job->pieces = pieces, job->users = 1;
  for (int64_t i = 0; i < frame->args.size; i++) job->given[i] = argument(frame, i)->data;
  for (int64_t i = 0; i < frame->rets.size; i++) job->made[i] = result(frame, i)->data;
  return job;
}

/* Do it; what finishes it comes after all pieces. Failed where something that is to be held is not there. */
static XLA_FFI_Error *run(const XLA_FFI_CallFrame *frame, Job *job, int failed, void (*finish)(Job *)) {
  if (!failed) {
    ask_for_help(frame, job);
    take_pieces(job);
    while (__atomic_load_n(&job->done, __ATOMIC_ACQUIRE) < job->pieces) sched_yield();
    failed = __atomic_load_n(&job->failed, __ATOMIC_RELAXED);
    if (finish && !failed) finish(job);
  }
  leave(job);
  return failed ? no_memory(frame) : 0;
}
