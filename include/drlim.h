// drlim: losses of pairs, triplets and anchors of embeddings, their gradients, distances and nearest
// neighbours, by SIMD kernels that are chosen for the processor when the program runs.
//
// Generated from the comments of src/capi by include/generate: change those.
//
//     cc example.c $(pkg-config --cflags --libs drlim)
//
//     #include <drlim.h>
//     #include <stdio.h>
//
//     int main(void) {
//         float a[] = {0, 0, 1, 0}, b[] = {0, 2, 0.5f, 0}, grad_a[4], grad_b[4]; // two pairs of 2-D rows
//         bool similar[] = {true, false};
//         drlim_objective sum = drlim_objective_new(DRLIM_LOSS_CONTRASTIVE, 1.0, DRLIM_REDUCTION_SUM);
//         drlim_rows_out_f32 out = {.grad_a = {grad_a, 2, 2, 2}, .grad_b = {grad_b, 2, 2, 2}};
//         drlim_outcome outcome;
//         if (drlim_rows_f32(NULL, &sum, (drlim_matrix_f32){a, 2, 2, 2}, (drlim_matrix_f32){b, 2, 2, 2},
//                            similar, NULL, NULL, &out, &outcome))
//             return fprintf(stderr, "%s\n", drlim_last_error()), 1;
//         printf("loss %g, first gradient (%g, %g)\n", outcome.value, grad_a[0], grad_a[1]);
//     }
//
// Sizes. N, M, B and k are numbers of rows, D of columns. Distances are Euclidean and have the units of the
// embeddings; sizes count elements, never bytes.
//
// Ownership. Memory that a call is given stays the caller's, and no call keeps a pointer to it, but for the
// data of callbacks while it runs. Handles (drlim_context, drlim_scratch, drlim_pairs, drlim_graph) come
// from a function that makes them and go back by the one that frees them.
//
// Errors. What every call refuses, before it writes anything: a null pointer where there are elements or
// where it does not say "may be null"; a pointer that is not aligned; an output that shares an element with
// another output or with an input; a shape that does not fit; a flag that is neither 0 nor 1; a code that is
// unknown; a margin out of its domain. What cannot be known is the caller's part: that arrays are as long as
// their sizes say, and handles not given back. A call returns a status and never ends the process, unless
// the system has no memory left for what is small beside the batch.
//
// Threads. Every function may be called from any thread, on the same inputs, contexts, lists and graphs at
// once; a scratch is used by one call at a time, and others are refused. Results have the same bits for any
// number of threads.
//
// Locks. While a call waits for its share on other threads, the waiting thread of the library does other work,
// and that may be another block of the same call: so inside a callback, a call with more than one thread can
// find itself inside of the callback a second time, on the same thread. A lock of the caller's that is held
// over such a call then waits for itself forever, and a scratch of the thread is refused as in use. Inside
// callbacks, hold no lock over a call; give it a context of 1 thread, with which it does no other work, or no
// scratch.
//
// Linking. Programs that hold another library written in Rust, as a static one (.a) of another compiler or
// release of Rust, link drlim as the shared library: both static ones hold Rust's standard library, and the
// linker says "multiple definition of rust_eh_personality" or the like. The shared library exports the
// functions below and nothing else, so any number of such can be in one program:
//
//     cc program.c libother.a -ldrlim
//
// Who builds both from source, by one compiler, can make one crate of the type staticlib that depends on both,
// and link that alone.
//
// Values. A quotient by a distance is 0 where that is 0. A NaN reaches every output that depends on it, and
// no other. Empty batches have value 0.


#ifndef DRLIM_H
#define DRLIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The instruction tier and the threads that calls run on. Calls may share a context, from several threads at
// once. Wherever a context is asked for, null stands for the default one: the best tier (or DRLIM_ISA) and
// the threads of the process (a thread a core, or RAYON_NUM_THREADS). Results do not depend on threads.
typedef struct drlim_context drlim_context;

// A graph that says which rows, or samples, are similar. Made once and used by any number of calls, also at
// once.
typedef struct drlim_graph drlim_graph;

// Pairs of rows of one matrix, checked once and used by any number of calls, also at once.
typedef struct drlim_pairs drlim_pairs;

// Working memory of calls: it grows to what the largest of them needs and is then used again, so that a
// training step allocates nothing. It serves calls of every kind, in float and double, one at a time: a
// second one at the same time does not wait, but is refused with DRLIM_STATUS_BUSY. See "Locks" above.
typedef struct drlim_scratch drlim_scratch;

// The result of every function that can fail: DRLIM_STATUS_OK, which is 0, or why it was refused.
// drlim_last_error() has a message.
typedef int32_t drlim_status;
// Done.
#define DRLIM_STATUS_OK 0
// A pointer that is needed is null.
#define DRLIM_STATUS_NULL_POINTER 1
// A pointer is not aligned for what it points at.
#define DRLIM_STATUS_MISALIGNED 2
// An output overlaps another output or an input.
#define DRLIM_STATUS_OVERLAP 3
// A matrix has the wrong number of rows, columns, or elements from row to row.
#define DRLIM_STATUS_SHAPE 4
// A number is outside of its domain, or a code is unknown.
#define DRLIM_STATUS_VALUE 5
// An index is past the end.
#define DRLIM_STATUS_INDEX 6
// A size overflows, or there is no memory for it.
#define DRLIM_STATUS_MEMORY 7
// The processor lacks the instruction tier, or DRLIM_ISA names none.
#define DRLIM_STATUS_TIER 8
// The reduction is not one for triplets.
#define DRLIM_STATUS_REDUCTION 9
// A list of pairs or a graph cannot be built as asked.
#define DRLIM_STATUS_PAIRS 10
// The scratch is in use by another call.
#define DRLIM_STATUS_BUSY 11
// The caller's loss returned something other than 0. Outputs have been written.
#define DRLIM_STATUS_CALLBACK 12
// A defect of this library. Outputs may have been written.
#define DRLIM_STATUS_PANIC 13

// Which vector instructions calls use. Results of two tiers differ in their last bits.
typedef uint32_t drlim_tier;
// the best of this processor, or what the environment variable DRLIM_ISA names
#define DRLIM_TIER_DEFAULT 0
// what the library was built for: SSE2, NEON
#define DRLIM_TIER_PORTABLE 1
// AVX2, FMA and POPCNT
#define DRLIM_TIER_AVX2 2
// AVX-512 F, BW, DQ and VL
#define DRLIM_TIER_AVX512 3

// How the values of pairs become one number. With the sums S of values, the numbers N of pairs and the
// numbers A of pairs whose value is not zero, of similar (s) and dissimilar pairs (d); 0/0 is 0:
typedef uint32_t drlim_reduction;
// S_s + S_d
#define DRLIM_REDUCTION_SUM 0
// (S_s + S_d) / (N_s + N_d)
#define DRLIM_REDUCTION_MEAN 1
// (S_s + S_d) / (A_s + A_d)
#define DRLIM_REDUCTION_MEAN_NON_ZERO 2
// S_s / N_s + S_d / N_d; not for triplets
#define DRLIM_REDUCTION_BALANCED 3
// S_s / A_s + S_d / A_d, the default of pytorch-metric-learning; not for triplets
#define DRLIM_REDUCTION_BALANCED_NON_ZERO 4
// similar_factor S_s + dissimilar_factor S_d; not for triplets
#define DRLIM_REDUCTION_FACTORS 5

// Sums over the pairs of one kind.
typedef struct drlim_sums {
    // How many pairs there were.
    uint64_t pairs;
    // How many had a value other than zero. A NaN is not zero.
    uint64_t active;
    // The sum of their values, weights included.
    double sum;
} drlim_sums;

// A loss of pairs. With the distance d of two rows, the margin m and the positive margin p:
typedef uint32_t drlim_loss;
// similar d^2/2, dissimilar max(0, m - d)^2/2 (Hadsell, Chopra, LeCun 2006)
#define DRLIM_LOSS_CONTRASTIVE 0
// similar d^2/2, dissimilar max(0, m - d^2)/2
#define DRLIM_LOSS_SQUARED_HINGE 1
// similar max(0, d - p), dissimilar max(0, m - d) (pytorch-metric-learning)
#define DRLIM_LOSS_LINEAR_HINGE 2
// similar max(0, d - p)^2/2, dissimilar max(0, m - d)^2/2
#define DRLIM_LOSS_DOUBLE_MARGIN 3
// similar 2 d^2/m, dissimilar 2 m exp(-2.77 d/m), where m is a bound of distances
#define DRLIM_LOSS_EXPONENTIAL 4
// similar c^2/2, dissimilar max(0, m - c)^2/2 with c = d^2/2, which is 1 - cos of rows of length 1
#define DRLIM_LOSS_COSINE_CONTRASTIVE 5
// the caller's function
#define DRLIM_LOSS_CALLBACK 6
// similar ln(1 + e^-s), dissimilar ln(1 + e^s) with s = a (1 - d^2/2) + b, without a margin (SigLIP)
#define DRLIM_LOSS_SIGMOID 7

// A caller's loss for float, on n pairs. On entry d2 has their squared distances, and similar says which
// pairs are similar. The function overwrites d2 with the slopes, 2 times the derivative of the value by the
// squared distance, and values with the values. The results for a pair must depend on that pair alone, since
// a batch comes in blocks of any length. Returns 0, or anything else to end the call with
// DRLIM_STATUS_CALLBACK.
//
// It is shown the pairs of the batch and nothing else: no row with itself, no pair that is left out, no
// padding. So a squared distance of 0 belongs to two rows of the batch that are equal, or so close that the
// square underflows. Each pair is shown once, in no promised order, with these exceptions. Pairs beyond
// callback_reach need not be shown. Where a gradient is asked for, drlim_all_pairs_f32() and
// drlim_cross_f32() with DRLIM_REDUCTION_BALANCED_NON_ZERO show similar pairs twice and dissimilar ones once
// or twice. Where a gradient or slopes are asked for, drlim_rows_f32() with that reduction or with
// DRLIM_REDUCTION_MEAN_NON_ZERO shows all pairs twice.
//
// It is called from several threads at once unless the context has one thread, and must not throw, jump
// out or call the library with the scratch of the call that it is in.
typedef int32_t (*drlim_callback_f32)(void *data,
                                      float *d2,
                                      const bool *similar,
                                      float *values,
                                      size_t n);

// As drlim_callback_f32, for double.
typedef int32_t (*drlim_callback_f64)(void *data,
                                      double *d2,
                                      const bool *similar,
                                      double *values,
                                      size_t n);

// An objective on pairs: a loss, a reduction of the pairs' values to one number, and a factor of gradients.
// drlim_objective_new() fills it; then change the fields that are to be different.
typedef struct drlim_objective {
    // sizeof of this struct: a struct that was not filled by drlim_objective_new() is refused.
    size_t size;
    // The loss.
    drlim_loss loss;
    // How values are added up.
    drlim_reduction reduction;
    // m, of losses that have one: finite and positive.
    double margin;
    // p, of losses that have one: finite and not negative; 0 at first.
    double positive_margin;
    // The factor of gradients and slopes, and of those alone: the derivative of the caller's own objective
    // by the value of this one; 1 at first.
    double scale;
    // With DRLIM_REDUCTION_FACTORS, the factor of the values of similar pairs.
    double similar_factor;
    // With DRLIM_REDUCTION_FACTORS, the factor of the values of dissimilar pairs.
    double dissimilar_factor;
    // With DRLIM_LOSS_CALLBACK, the loss for float.
    drlim_callback_f32 callback_f32;
    // With DRLIM_LOSS_CALLBACK, the loss for double.
    drlim_callback_f64 callback_f64;
    // The callback's first argument, which belongs to the caller and is not touched.
    void *callback_data;
    // The distance beyond which dissimilar pairs have value and slope 0 with the callback, so that calls
    // on whole batches skip them; 0, as at first, where there is none.
    double callback_reach;
    // With DRLIM_LOSS_SIGMOID, a: finite and positive; 10 at first.
    double sigmoid_scale;
    // With DRLIM_LOSS_SIGMOID, b: finite; -10 at first.
    double sigmoid_bias;
} drlim_objective;

// A loss of triplets. With the distances ap and an of the anchor from the positive and from the negative,
// pn of positive and negative, and the margin m:
typedef uint32_t drlim_triplet_loss;
// max(0, ap - an + m)
#define DRLIM_TRIPLET_LOSS_MARGIN 0
// max(0, ap - min(an, pn) + m)
#define DRLIM_TRIPLET_LOSS_MARGIN_SWAP 1
// max(0, ap^2 - an^2 + m)
#define DRLIM_TRIPLET_LOSS_SQUARED 2
// the caller's function
#define DRLIM_TRIPLET_LOSS_CALLBACK 3

// A caller's loss of triplets for float: as drlim_callback_f32, with three lists of n squared distances: of
// anchor and positive, of anchor and negative, of positive and negative. The function overwrites each list
// with its slopes. It is shown the triplets of the batch and nothing else: none that is left out, no
// padding. Each is shown once, in no promised order, but twice where gradients or slopes are asked for by
// drlim_triplet_rows_f32() with DRLIM_REDUCTION_MEAN_NON_ZERO, or by drlim_triplets_f32() with
// DRLIM_MINING_ALL and callback_swaps.
typedef int32_t (*drlim_triplet_callback_f32)(void *data,
                                              float *d2_ap,
                                              float *d2_an,
                                              float *d2_pn,
                                              float *values,
                                              size_t n);

// As drlim_triplet_callback_f32, for double.
typedef int32_t (*drlim_triplet_callback_f64)(void *data,
                                              double *d2_ap,
                                              double *d2_an,
                                              double *d2_pn,
                                              double *values,
                                              size_t n);

// An objective on triplets: a loss, a reduction and a factor of gradients. drlim_triplet_objective_new()
// fills it; then change the fields that are to be different.
typedef struct drlim_triplet_objective {
    // sizeof of this struct: a struct that was not filled by drlim_triplet_objective_new() is refused.
    size_t size;
    // The loss.
    drlim_triplet_loss loss;
    // How values are added up: DRLIM_REDUCTION_SUM, MEAN or MEAN_NON_ZERO.
    drlim_reduction reduction;
    // m: finite and positive.
    double margin;
    // The factor of gradients and slopes, and of those alone; 1 at first.
    double scale;
    // With DRLIM_TRIPLET_LOSS_CALLBACK, the loss for float.
    drlim_triplet_callback_f32 callback_f32;
    // With DRLIM_TRIPLET_LOSS_CALLBACK, the loss for double.
    drlim_triplet_callback_f64 callback_f64;
    // The callback's first argument, which belongs to the caller and is not touched.
    void *callback_data;
    // Other than 0 if the callback uses the distance of positive and negative. If 0, that distance is not
    // measured: the callback gets 0 for it, and the slope that it leaves there is not used.
    uint32_t callback_swaps;
} drlim_triplet_objective;

// ln of the sum of e^x over some exponents x: largest + ln(sum).
typedef struct drlim_log_sum {
    // How many exponents there are.
    uint64_t count;
    // The largest exponent; says nothing where the sum is 0.
    double largest;
    // The sum of e^(x - largest).
    double sum;
} drlim_log_sum;

// Sums over the candidates of one anchor. Zeros are those of no candidate.
//
// Where keys are in parts, on several machines for instance, calls on the queries and each part of the keys
// write these sums, without gradients. drlim_anchor_sums_add() merges those of all parts. With them as the
// known field of the objective, the same calls give the value of the whole and the part's share of its
// gradients: those of the queries are added up. Where queries are in parts, too, drlim_anchor_reduce() gives
// the factor of all parts.
//
// DRLIM_POSITIVES_EACH looks at similar pairs again, with the log-sums of the whole, and takes a round in
// between: the calls that know the merged sums write sums again, which drlim_anchor_sums_add_each() merges.
// Values and gradients of that round are of no use.
typedef struct drlim_anchor_sums {
    // Over the similar pairs.
    struct drlim_log_sum similar;
    // Over the dissimilar pairs.
    struct drlim_log_sum dissimilar;
    // The sum of the exponents of the similar pairs.
    double exponents;
    // Other than 0 where similar pairs have been looked at again, and each says what was found.
    uint64_t looked;
    // Two sums over the similar pairs, made with the log-sums above.
    double each[2];
} drlim_anchor_sums;

// A loss of anchors: what a row costs by all its similar and dissimilar pairs at once. With the similarity u
// of a pair, the log-sums P and G, ln of the sum of e^x, over the similar and the dissimilar pairs of an
// anchor, the softmax scale a, the margin m and the positive margin p:
typedef uint32_t drlim_anchor_loss;
// softmax cross entropy of x = a u over the candidates: InfoNCE, NT-Xent, SupCon, CLIP; see
// drlim_positives
#define DRLIM_ANCHOR_LOSS_SOFTMAX 0
// a softmax with x = a (u - m) of similar pairs
#define DRLIM_ANCHOR_LOSS_COS_FACE 1
// a softmax with x = a cos(t + m) of similar pairs at the angle t, in radians
#define DRLIM_ANCHOR_LOSS_ARC_FACE 2
// ln(1 + e^P)/alpha + ln(1 + e^G)/beta, x = -alpha (u - base), beta (u - base)
#define DRLIM_ANCHOR_LOSS_MULTI_SIMILARITY 3
// ln(1 + e^(P + G)), x = -gamma max(1 + m - u, 0) (u - 1 + m), gamma max(u + m, 0) (u - m), where the
// factors before the last are constants in the gradient
#define DRLIM_ANCHOR_LOSS_CIRCLE 4
// half the sum over similar pairs of max(J - u - p, 0)^2, J the log-sum of x = u + m over the dissimilar
// pairs of both ends; for all rows as anchors, or DRLIM_ANCHORS_BOTH
#define DRLIM_ANCHOR_LOSS_LIFTED 5
// max(P + G, 0), x = -u - p, u + m
#define DRLIM_ANCHOR_LOSS_GENERALIZED_LIFTED 6

// How the similar pairs of an anchor share its softmax:
typedef uint32_t drlim_positives;
// the mean of their losses, each against all candidates: SupCon, and InfoNCE where there is one
#define DRLIM_POSITIVES_MEAN 0
// their powers are added up, the sum is against all candidates: MIL-NCE
#define DRLIM_POSITIVES_SUM 1
// each by itself against the dissimilar pairs, added up: NT-Xent of pytorch-metric-learning
#define DRLIM_POSITIVES_EACH 2

// The similarity u of two rows q and k at the distance d:
typedef uint32_t drlim_measure;
// 1 - d^2/2, the cosine of rows of length 1; rows are taken as they are
#define DRLIM_MEASURE_COSINE 0
// the dot product of rows as they are
#define DRLIM_MEASURE_DOT 1
// -d
#define DRLIM_MEASURE_DISTANCE 2
// -ln(1 + d^2), the logarithm of the Student kernel: a softmax of scale 1 is over 1/(1 + d^2)
#define DRLIM_MEASURE_STUDENT 3

// How the values of anchors become one number: their sum S by what follows. 0/0 is 0:
typedef uint32_t drlim_anchor_reduction;
// S
#define DRLIM_ANCHOR_REDUCTION_SUM 0
// S / number of anchors
#define DRLIM_ANCHOR_REDUCTION_MEAN 1
// S / number of anchors that have a similar pair
#define DRLIM_ANCHOR_REDUCTION_MEAN_WITH_SIMILAR 2
// S / number of anchors whose value is not zero, as for SupCon in pytorch-metric-learning
#define DRLIM_ANCHOR_REDUCTION_MEAN_NON_ZERO 3
// S / number of similar pairs of all anchors, as for NT-Xent in pytorch-metric-learning
#define DRLIM_ANCHOR_REDUCTION_MEAN_OF_PAIRS 4
// factor S
#define DRLIM_ANCHOR_REDUCTION_FACTOR 5

// An objective on anchors: a loss, how rows are compared, how anchors are added up, and a factor of gradients.
// drlim_anchor_objective_new() fills it; then change the fields that are to be different.
typedef struct drlim_anchor_objective {
    // sizeof of this struct: a struct that was not filled by drlim_anchor_objective_new() is refused.
    size_t size;
    // The loss.
    drlim_anchor_loss loss;
    // With DRLIM_ANCHOR_LOSS_SOFTMAX, how similar pairs share it; DRLIM_POSITIVES_MEAN at first.
    drlim_positives positives;
    // With DRLIM_ANCHOR_LOSS_SOFTMAX, other than 0 to leave similar pairs out of the denominator.
    uint32_t decoupled;
    // How rows are compared: at first DRLIM_MEASURE_DISTANCE for the two lifted losses, else
    // DRLIM_MEASURE_COSINE.
    drlim_measure measure;
    // How anchors are added up.
    drlim_anchor_reduction reduction;
    // With DRLIM_ANCHOR_REDUCTION_FACTOR, the factor; 1 at first.
    double factor;
    // a, of DRLIM_ANCHOR_LOSS_SOFTMAX, COS_FACE and ARC_FACE: finite and positive. At first 10 for the first,
    // a temperature of 0.1, and 64 for the others.
    double softmax_scale;
    // m: finite, and not negative with COS_FACE and ARC_FACE. At first 0.35 for COS_FACE, 0.5 for ARC_FACE,
    // 0.4 for CIRCLE, else 1.
    double margin;
    // p, of the two lifted losses: finite; 0 at first.
    double positive_margin;
    // With DRLIM_ANCHOR_LOSS_MULTI_SIMILARITY, finite and positive; 2 at first.
    double alpha;
    // With DRLIM_ANCHOR_LOSS_MULTI_SIMILARITY, finite and positive; 50 at first.
    double beta;
    // With DRLIM_ANCHOR_LOSS_MULTI_SIMILARITY, finite; 0.5 at first.
    double base;
    // With DRLIM_ANCHOR_LOSS_CIRCLE, finite and positive; 80 at first.
    double gamma;
    // The factor of gradients, and of those alone: the derivative of the caller's own objective by the value
    // of this one; 1 at first.
    double scale;
    // Of calls for float, a factor of the value of each anchor; null, as at first, where all are 1.
    const float *weights_f32;
    // As weights_f32, of calls for double.
    const double *weights_f64;
    // The sums of each anchor over all its candidates, where the call has a part of them; null, as at first,
    // where they are added up. See drlim_anchor_sums. Refused: sums that are NaN or negative, or of more than
    // 2^32 - 1 pairs.
    const struct drlim_anchor_sums *known;
} drlim_anchor_objective;

// Sums over the anchors of one direction.
typedef struct drlim_anchor_totals {
    // How many anchors there were, without those left out.
    uint64_t anchors;
    // How many of them had a similar pair.
    uint64_t with_similar;
    // How many had a value other than zero. A NaN is not zero.
    uint64_t active;
    // How many had a similar candidate that is nearer, by exponents, than all dissimilar ones; with
    // DRLIM_ANCHOR_LOSS_SOFTMAX, COS_FACE and ARC_FACE, else 0.
    uint64_t correct;
    // Their similar pairs together.
    uint64_t similar;
    // All their pairs.
    uint64_t pairs;
    // The sum of their values, weights included.
    double sum;
} drlim_anchor_totals;

// A matrix that is read: rows of cols elements, the starts of two rows stride elements apart.
//
// data is aligned for its elements and may be null where there are none; stride is at least cols. Memory
// between two rows is not touched, so columns of a wider array can be given. The memory is the caller's, and
// nobody may write it during a call.
typedef struct drlim_matrix_f32 {
    // Where the first row starts.
    const float *data;
    // How many rows there are.
    size_t rows;
    // How many elements a row has.
    size_t cols;
    // Elements from the start of a row to the start of the next, at least cols.
    size_t stride;
} drlim_matrix_f32;

// A matrix that is read: rows of cols elements, the starts of two rows stride elements apart.
//
// data is aligned for its elements and may be null where there are none; stride is at least cols. Memory
// between two rows is not touched, so columns of a wider array can be given. The memory is the caller's, and
// nobody may write it during a call.
typedef struct drlim_matrix_f64 {
    // Where the first row starts.
    const double *data;
    // How many rows there are.
    size_t rows;
    // How many elements a row has.
    size_t cols;
    // Elements from the start of a row to the start of the next, at least cols.
    size_t stride;
} drlim_matrix_f64;

// A matrix that is written: as one that is read, but nobody else may read or write it during a call. An
// optional one is not wanted where data is null; the other fields do not matter then.
typedef struct drlim_matrix_mut_f32 {
    // Where the first row starts.
    float *data;
    // How many rows there are.
    size_t rows;
    // How many elements a row has.
    size_t cols;
    // Elements from the start of a row to the start of the next, at least cols.
    size_t stride;
} drlim_matrix_mut_f32;

// The outputs that a call on pairs by rows writes beside its outcome; they are overwritten. Fields that are
// zero are not wanted.
typedef struct drlim_rows_out_f32 {
    // N x D: the gradient by a. Only together with grad_b.
    struct drlim_matrix_mut_f32 grad_a;
    // N x D: the gradient by b. Only together with grad_a.
    struct drlim_matrix_mut_f32 grad_b;
    // N: the Euclidean distances.
    float *distances;
    // N: the values, times their weights, before they are reduced.
    float *values;
    // N: the slopes, the factors of a_i - b_i in the gradient of a_i.
    float *slopes;
} drlim_rows_out_f32;

// The result of a call on pairs or triplets.
typedef struct drlim_outcome {
    // The objective's value, not multiplied by its scale.
    double value;
    // How many pairs there were, without those left out.
    uint64_t pairs;
    // How many had a value other than zero. A NaN is not zero.
    uint64_t active;
    // Sums over the similar pairs.
    struct drlim_sums similar;
    // Sums over the dissimilar pairs. Triplets are counted here.
    struct drlim_sums dissimilar;
} drlim_outcome;

// A matrix that is written: as one that is read, but nobody else may read or write it during a call. An
// optional one is not wanted where data is null; the other fields do not matter then.
typedef struct drlim_matrix_mut_f64 {
    // Where the first row starts.
    double *data;
    // How many rows there are.
    size_t rows;
    // How many elements a row has.
    size_t cols;
    // Elements from the start of a row to the start of the next, at least cols.
    size_t stride;
} drlim_matrix_mut_f64;

// The outputs that a call on pairs by rows writes beside its outcome; they are overwritten. Fields that are
// zero are not wanted.
typedef struct drlim_rows_out_f64 {
    // N x D: the gradient by a. Only together with grad_b.
    struct drlim_matrix_mut_f64 grad_a;
    // N x D: the gradient by b. Only together with grad_a.
    struct drlim_matrix_mut_f64 grad_b;
    // N: the Euclidean distances.
    double *distances;
    // N: the values, times their weights, before they are reduced.
    double *values;
    // N: the slopes, the factors of a_i - b_i in the gradient of a_i.
    double *slopes;
} drlim_rows_out_f64;

// The outputs that a call on a list of pairs writes beside its outcome; they are overwritten. Fields that
// are zero are not wanted.
typedef struct drlim_indexed_out_f32 {
    // B x D: the gradient; 0 in rows that are in no pair.
    struct drlim_matrix_mut_f32 grad;
    // The Euclidean distances of all pairs of the list.
    float *distances;
    // The values of the pairs, times their weights, before they are reduced.
    float *values;
    // The slopes of the pairs: the factors of z_i - z_j in the gradient of z_i.
    float *slopes;
} drlim_indexed_out_f32;

// The outputs that a call on a list of pairs writes beside its outcome; they are overwritten. Fields that
// are zero are not wanted.
typedef struct drlim_indexed_out_f64 {
    // B x D: the gradient; 0 in rows that are in no pair.
    struct drlim_matrix_mut_f64 grad;
    // The Euclidean distances of all pairs of the list.
    double *distances;
    // The values of the pairs, times their weights, before they are reduced.
    double *values;
    // The slopes of the pairs: the factors of z_i - z_j in the gradient of z_i.
    double *slopes;
} drlim_indexed_out_f64;

// Which rows of a batch are similar: those of the same label, or neighbours in a graph. Give one of the
// two, and leave the other null.
typedef struct drlim_similar {
    // A label for each row; any value is a class.
    const int64_t *labels;
    // With labels: a label that stands for no class. Rows that have it are in no pair. May be null.
    const int64_t *ignored_label;
    // A graph with a sample for each row.
    const struct drlim_graph *graph;
} drlim_similar;

// Which pairs of a query and a key are similar: those of the same label, neighbours in a graph that holds
// both, or each query and the key at its position. Give labels of both sides, a graph, or a position.
typedef struct drlim_cross_similar {
    // A label for each query.
    const int64_t *query_labels;
    // A label for each key.
    const int64_t *key_labels;
    // With labels: a label that stands for no class. Rows that have it are in no pair. May be null.
    const int64_t *ignored_label;
    // A graph of samples that holds both queries and keys.
    const struct drlim_graph *graph;
    // With a graph: query i is sample first_query + i.
    size_t first_query;
    // With a graph: key j is sample first_key + j.
    size_t first_key;
    // Where the queries are keys too: key *own + i is query i itself, and the two make no pair. May be null.
    const size_t *own;
    // By position: key *first_key_of_queries + i alone is similar to query i. Null with labels or a graph.
    const size_t *first_key_of_queries;
} drlim_cross_similar;

// The outputs that a call on triplets by rows writes beside its outcome; they are overwritten. Fields that
// are zero are not wanted; a is the anchor, p the positive, n the negative.
typedef struct drlim_triplet_rows_out_f32 {
    // N x D: the gradient by the anchors. The three gradients only together.
    struct drlim_matrix_mut_f32 grad_anchor;
    // N x D: the gradient by the positives.
    struct drlim_matrix_mut_f32 grad_positive;
    // N x D: the gradient by the negatives.
    struct drlim_matrix_mut_f32 grad_negative;
    // N: the distances of a and p. Only together with distances_an.
    float *distances_ap;
    // N: the distances of a and n.
    float *distances_an;
    // N: the distances of p and n.
    float *distances_pn;
    // N: the values, times their weights, before they are reduced.
    float *values;
    // N: the slopes of a and p. The three only together.
    float *slopes_ap;
    // N: the slopes of a and n.
    float *slopes_an;
    // N: the slopes of p and n.
    float *slopes_pn;
} drlim_triplet_rows_out_f32;

// The triplets of a batch that enter the loss.
typedef uint32_t drlim_mining;
// every anchor with each of its positives and each of its negatives
#define DRLIM_MINING_ALL 0
// every anchor with its farthest positive and its nearest negative
#define DRLIM_MINING_HARDEST 1
// every anchor and positive with the nearest negative that is farther, or else the farthest
#define DRLIM_MINING_SEMI_HARD 2

// The outputs that a call on triplets by rows writes beside its outcome; they are overwritten. Fields that
// are zero are not wanted; a is the anchor, p the positive, n the negative.
typedef struct drlim_triplet_rows_out_f64 {
    // N x D: the gradient by the anchors. The three gradients only together.
    struct drlim_matrix_mut_f64 grad_anchor;
    // N x D: the gradient by the positives.
    struct drlim_matrix_mut_f64 grad_positive;
    // N x D: the gradient by the negatives.
    struct drlim_matrix_mut_f64 grad_negative;
    // N: the distances of a and p. Only together with distances_an.
    double *distances_ap;
    // N: the distances of a and n.
    double *distances_an;
    // N: the distances of p and n.
    double *distances_pn;
    // N: the values, times their weights, before they are reduced.
    double *values;
    // N: the slopes of a and p. The three only together.
    double *slopes_ap;
    // N: the slopes of a and n.
    double *slopes_an;
    // N: the slopes of p and n.
    double *slopes_pn;
} drlim_triplet_rows_out_f64;

// The result of a call on anchors.
typedef struct drlim_anchor_outcome {
    // The objective's value, not multiplied by its scale.
    double value;
    // Sums over the rows of a batch, or over queries, as anchors.
    struct drlim_anchor_totals queries;
    // Sums over keys as anchors.
    struct drlim_anchor_totals keys;
} drlim_anchor_outcome;

// The rows of a call on queries and keys that are anchors:
typedef uint32_t drlim_anchors;
// queries, each against all keys: InfoNCE, rows against class vectors
#define DRLIM_ANCHORS_QUERIES 0
// keys, each against all queries
#define DRLIM_ANCHORS_KEYS 1
// both: the value is the mean of both directions, each reduced by itself, as in CLIP
#define DRLIM_ANCHORS_BOTH 2

// A distance of two rows a and b.
typedef uint32_t drlim_distance;
// |a - b|
#define DRLIM_DISTANCE_EUCLIDEAN 0
// |a - b|^2
#define DRLIM_DISTANCE_SQUARED_EUCLIDEAN 1
// the sum of products: a similarity rather than a distance
#define DRLIM_DISTANCE_DOT 2
// 1 - cos of the angle between the rows; 1 where a row is 0
#define DRLIM_DISTANCE_COSINE 3

// The outputs for the k rows found for each query: N x k, row after row, best first.
typedef struct drlim_found_f32 {
    // N x k: the rows found; overwritten. 2^32 - 1 where there are fewer than k.
    uint32_t *indices;
    // N x k: their Euclidean distances; overwritten, NaN where there are fewer. May be null.
    float *distances;
} drlim_found_f32;

// The outputs for the k rows found for each query: N x k, row after row, best first.
typedef struct drlim_found_f64 {
    // N x k: the rows found; overwritten. 2^32 - 1 where there are fewer than k.
    uint32_t *indices;
    // N x k: their Euclidean distances; overwritten, NaN where there are fewer. May be null.
    double *distances;
} drlim_found_f64;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The reason why the last call of this thread that failed did so, such as "rows: b has shape 3x2, expected
// 2x2 (as a)".
//
// Never null, and empty before a call fails. The text belongs to the library and stays until another
// call of the same thread fails.
const char *drlim_last_error(void);

// Makes a context.
//
// tier: a DRLIM_TIER. threads: 1 for the calling thread alone, more for that many threads of the context's
// own, 0 for the threads of the process. context: where its handle goes, to be given back with
// drlim_context_free(). Refused: a tier that is unknown or that this processor lacks, more threads than 4096
// or than the system starts, null or misaligned. In a child of a process that forked, calls run on the
// calling thread.
drlim_status drlim_context_new(drlim_tier tier,
                               size_t threads,
                               struct drlim_context **context);

// Gives a context back and ends its threads. Null is fine.
void drlim_context_free(struct drlim_context *context);

// The tier and the number of threads of a context, or with null of the default one.
//
// tier, threads: written; each may be null. Refused: misaligned pointers.
drlim_status drlim_context_describe(const struct drlim_context *context,
                                    drlim_tier *tier,
                                    size_t *threads);

// The name of a tier: "portable", "avx2" or "avx512"; null for any other code. The text belongs to the
// library and stays.
const char *drlim_tier_name(drlim_tier tier);

// The version of the library, such as "0.1.0". The text belongs to the library and stays.
const char *drlim_version(void);

// The value of a batch in parts, on several machines for instance, given the totals of the sums over similar
// and over dissimilar pairs; and the factors for DRLIM_REDUCTION_FACTORS with which each part gets its
// gradient of the whole.
//
// reduction: any but DRLIM_REDUCTION_FACTORS. value, similar_factor, dissimilar_factor: written; each may
// be null. Refused: an unknown reduction.
drlim_status drlim_reduce(drlim_reduction reduction,
                          struct drlim_sums similar,
                          struct drlim_sums dissimilar,
                          double *value,
                          double *similar_factor,
                          double *dissimilar_factor);

// An objective with scale 1, positive margin 0 and no callback. Never fails: calls refuse an objective that
// is wrong.
struct drlim_objective drlim_objective_new(drlim_loss loss,
                                           double margin,
                                           drlim_reduction reduction);

// An objective of triplets with scale 1 and no callback. Never fails: calls refuse an objective that is
// wrong.
struct drlim_triplet_objective drlim_triplet_objective_new(drlim_triplet_loss loss,
                                                           double margin,
                                                           drlim_reduction reduction);

// Merges the sums of two parts of the candidates, of as many anchors.
//
// sums: anchors elements, to which those of part are added; similar pairs count as not looked at again, since
// what was found of a part was made with its own log-sums. part: anchors elements. In any order the result is
// the same but for rounding, and nothing overflows; a NaN stays one. Refused: what every call refuses.
drlim_status drlim_anchor_sums_add(struct drlim_anchor_sums *sums,
                                   const struct drlim_anchor_sums *part,
                                   size_t anchors);

// Merges what two parts of the candidates found as they looked at similar pairs again, of as many anchors.
//
// sums: anchors elements, to whose each that of part is added; their log-sums stay. part: anchors elements.
// Refused: an anchor whose similar pairs have not been looked at again in both, or whose log-sums differ, as
// they do unless the calls of both parts know the same merged sums.
drlim_status drlim_anchor_sums_add_each(struct drlim_anchor_sums *sums,
                                        const struct drlim_anchor_sums *part,
                                        size_t anchors);

// An objective of anchors with scale 1, no weights, no sums that are known, and the parameters that
// pytorch-metric-learning has at first, or the paper where they are not said there. Never fails: calls refuse an
// objective that is wrong.
struct drlim_anchor_objective drlim_anchor_objective_new(drlim_anchor_loss loss,
                                                         drlim_anchor_reduction reduction);

// The value of anchors in parts, on several machines for instance, given their totals added up, and the factor
// for DRLIM_ANCHOR_REDUCTION_FACTOR with which each part gets its gradients of the whole.
//
// reduction: any but DRLIM_ANCHOR_REDUCTION_FACTOR. totals: of one direction, each field the sum over parts of
// the anchors; parts of the candidates have the same totals where sums are known, of which those of one count.
// value, factor: written; each may be null. Refused: an unknown reduction.
drlim_status drlim_anchor_reduce(drlim_anchor_reduction reduction,
                                 struct drlim_anchor_totals totals,
                                 double *value,
                                 double *factor);

// Makes an empty scratch.
//
// scratch: where its handle goes, to be given back with drlim_scratch_free(). Refused: null or misaligned.
drlim_status drlim_scratch_new(struct drlim_scratch **scratch);

// Gives a scratch and its memory back. Null is fine.
void drlim_scratch_free(struct drlim_scratch *scratch);

// Makes a graph of the given number of samples and the given similar pairs. A pair may be given in either
// order and any number of times.
//
// pairs: 2 x count, as for drlim_pairs_new(); copied. graph: where its handle goes, to be given back with
// drlim_graph_free(). Refused: a sample that is not below samples or is paired with itself; samples above
// 2^32 - 1, no memory.
drlim_status drlim_graph_new(size_t samples,
                             const uint32_t *pairs,
                             size_t count,
                             struct drlim_graph **graph);

// Gives a graph back. Null is fine.
void drlim_graph_free(struct drlim_graph *graph);

// How many samples a graph has, and how many pairs of them are similar, each counted once.
//
// samples, edges: written; each may be null.
drlim_status drlim_graph_size(const struct drlim_graph *graph,
                              size_t *samples,
                              size_t *edges);

// The similar pairs of a graph, each once, ascending.
//
// pairs: room for 2 x edges numbers; overwritten.
drlim_status drlim_graph_pairs(const struct drlim_graph *graph,
                               uint32_t *pairs);

// Makes the graph in which two rows of z are similar if either is among the k nearest of the
// other (Hadsell, Chopra, LeCun 2006).
//
// context: may be null. z: N x D. graph: where its handle goes, to be given back with
// drlim_graph_free(). Refused: k that is 0 or not below N, a row with fewer than k rows at a
// distance that is a number, and what every call refuses.
drlim_status drlim_graph_nearest_f32(const struct drlim_context *context,
                                     struct drlim_matrix_f32 z,
                                     size_t k,
                                     struct drlim_graph **graph);

// Makes the graph in which two rows of z are similar if either is among the k nearest of the
// other (Hadsell, Chopra, LeCun 2006).
//
// context: may be null. z: N x D. graph: where its handle goes, to be given back with
// drlim_graph_free(). Refused: k that is 0 or not below N, a row with fewer than k rows at a
// distance that is a number, and what every call refuses.
drlim_status drlim_graph_nearest_f64(const struct drlim_context *context,
                                     struct drlim_matrix_f64 z,
                                     size_t k,
                                     struct drlim_graph **graph);

// Loss and gradients of N pairs, row i of a with row i of b, in one pass over memory.
//
// context: may be null. a, b: N x D. similar: N, whether a pair is similar. weights: N, factors of
// the pairs' values; may be null. ignored: N, pairs to leave out; may be null. out: overwritten as
// far as given; may be null. outcome: written; may be null.
//
// Refused: shapes that differ from that of a, and what every call refuses.
drlim_status drlim_rows_f32(const struct drlim_context *context,
                            const struct drlim_objective *objective,
                            struct drlim_matrix_f32 a,
                            struct drlim_matrix_f32 b,
                            const bool *similar,
                            const float *weights,
                            const bool *ignored,
                            const struct drlim_rows_out_f32 *out,
                            struct drlim_outcome *outcome);

// Loss and gradients of N pairs, row i of a with row i of b, in one pass over memory.
//
// context: may be null. a, b: N x D. similar: N, whether a pair is similar. weights: N, factors of
// the pairs' values; may be null. ignored: N, pairs to leave out; may be null. out: overwritten as
// far as given; may be null. outcome: written; may be null.
//
// Refused: shapes that differ from that of a, and what every call refuses.
drlim_status drlim_rows_f64(const struct drlim_context *context,
                            const struct drlim_objective *objective,
                            struct drlim_matrix_f64 a,
                            struct drlim_matrix_f64 b,
                            const bool *similar,
                            const double *weights,
                            const bool *ignored,
                            const struct drlim_rows_out_f64 *out,
                            struct drlim_outcome *outcome);

// Makes a list of pairs of the rows of a matrix with the given number of rows.
//
// pairs: 2 x count, the rows of the first pair, then those of the second, and so on; copied. list: where
// its handle goes, to be given back with drlim_pairs_free(). Refused: a row that is not below rows, twice
// count or rows above 2^32 - 1, no memory.
drlim_status drlim_pairs_new(size_t rows,
                             const uint32_t *pairs,
                             size_t count,
                             struct drlim_pairs **list);

// Gives a list back. Null is fine.
void drlim_pairs_free(struct drlim_pairs *list);

// Loss and gradient of pairs (i, j) of the rows of z, in any order and with any repeats.
//
// context: may be null. z: B x D, where B is the number of rows that the list was made for. similar,
// weights, ignored: as for drlim_rows, an element for each pair of the list. out: overwritten as far
// as given; may be null. scratch: may be null. outcome: written; may be null.
//
// Refused: z or its gradient of other shapes, and what every call refuses.
drlim_status drlim_indexed_f32(const struct drlim_context *context,
                               const struct drlim_objective *objective,
                               struct drlim_matrix_f32 z,
                               const struct drlim_pairs *list,
                               const bool *similar,
                               const float *weights,
                               const bool *ignored,
                               const struct drlim_indexed_out_f32 *out,
                               const struct drlim_scratch *scratch,
                               struct drlim_outcome *outcome);

// Loss and gradient of pairs (i, j) of the rows of z, in any order and with any repeats.
//
// context: may be null. z: B x D, where B is the number of rows that the list was made for. similar,
// weights, ignored: as for drlim_rows, an element for each pair of the list. out: overwritten as far
// as given; may be null. scratch: may be null. outcome: written; may be null.
//
// Refused: z or its gradient of other shapes, and what every call refuses.
drlim_status drlim_indexed_f64(const struct drlim_context *context,
                               const struct drlim_objective *objective,
                               struct drlim_matrix_f64 z,
                               const struct drlim_pairs *list,
                               const bool *similar,
                               const double *weights,
                               const bool *ignored,
                               const struct drlim_indexed_out_f64 *out,
                               const struct drlim_scratch *scratch,
                               struct drlim_outcome *outcome);

// Loss and gradient of all B (B - 1) / 2 pairs of the rows of z, in memory proportional to z.
//
// context: may be null. z: B x D. similar: which rows are similar, all others are dissimilar; with
// labels, B of them. grad: B x D, overwritten; of null data where it is not wanted. scratch: may
// be null. outcome: written; may be null.
//
// Refused: a gradient or a graph of another size, both or neither of labels and graph, B above
// 2^32 - 1, and what every call refuses.
drlim_status drlim_all_pairs_f32(const struct drlim_context *context,
                                 const struct drlim_objective *objective,
                                 struct drlim_matrix_f32 z,
                                 const struct drlim_similar *similar,
                                 struct drlim_matrix_mut_f32 grad,
                                 const struct drlim_scratch *scratch,
                                 struct drlim_outcome *outcome);

// Loss and gradient of all B (B - 1) / 2 pairs of the rows of z, in memory proportional to z.
//
// context: may be null. z: B x D. similar: which rows are similar, all others are dissimilar; with
// labels, B of them. grad: B x D, overwritten; of null data where it is not wanted. scratch: may
// be null. outcome: written; may be null.
//
// Refused: a gradient or a graph of another size, both or neither of labels and graph, B above
// 2^32 - 1, and what every call refuses.
drlim_status drlim_all_pairs_f64(const struct drlim_context *context,
                                 const struct drlim_objective *objective,
                                 struct drlim_matrix_f64 z,
                                 const struct drlim_similar *similar,
                                 struct drlim_matrix_mut_f64 grad,
                                 const struct drlim_scratch *scratch,
                                 struct drlim_outcome *outcome);

// Loss and gradients of all N M pairs of a row of queries with a row of keys.
//
// context: may be null. queries: N x D. keys: M x D. similar: which pairs are similar, all others
// are dissimilar. grad_queries: N x D, grad_keys: M x D; overwritten, each of null data where it is
// not wanted. scratch: may be null. outcome: written; may be null.
//
// Refused: shapes that do not go together, none or several of labels, graph and position, samples or
// keys that are not there, and what every call refuses.
drlim_status drlim_cross_f32(const struct drlim_context *context,
                             const struct drlim_objective *objective,
                             struct drlim_matrix_f32 queries,
                             struct drlim_matrix_f32 keys,
                             const struct drlim_cross_similar *similar,
                             struct drlim_matrix_mut_f32 grad_queries,
                             struct drlim_matrix_mut_f32 grad_keys,
                             const struct drlim_scratch *scratch,
                             struct drlim_outcome *outcome);

// As drlim_cross, of DRLIM_LOSS_SIGMOID, with the derivatives by its parameters. SigLIP is this by
// position, with DRLIM_REDUCTION_FACTORS of 1/N.
//
// grad_scale, grad_bias: the derivatives by sigmoid_scale and sigmoid_bias, times the objective's
// scale; overwritten, each null where it is not wanted.
//
// Refused: another loss, and what drlim_cross refuses.
drlim_status drlim_cross_sigmoid_f32(const struct drlim_context *context,
                                     const struct drlim_objective *objective,
                                     struct drlim_matrix_f32 queries,
                                     struct drlim_matrix_f32 keys,
                                     const struct drlim_cross_similar *similar,
                                     struct drlim_matrix_mut_f32 grad_queries,
                                     struct drlim_matrix_mut_f32 grad_keys,
                                     double *grad_scale,
                                     double *grad_bias,
                                     const struct drlim_scratch *scratch,
                                     struct drlim_outcome *outcome);

// Loss and gradients of all N M pairs of a row of queries with a row of keys.
//
// context: may be null. queries: N x D. keys: M x D. similar: which pairs are similar, all others
// are dissimilar. grad_queries: N x D, grad_keys: M x D; overwritten, each of null data where it is
// not wanted. scratch: may be null. outcome: written; may be null.
//
// Refused: shapes that do not go together, none or several of labels, graph and position, samples or
// keys that are not there, and what every call refuses.
drlim_status drlim_cross_f64(const struct drlim_context *context,
                             const struct drlim_objective *objective,
                             struct drlim_matrix_f64 queries,
                             struct drlim_matrix_f64 keys,
                             const struct drlim_cross_similar *similar,
                             struct drlim_matrix_mut_f64 grad_queries,
                             struct drlim_matrix_mut_f64 grad_keys,
                             const struct drlim_scratch *scratch,
                             struct drlim_outcome *outcome);

// As drlim_cross, of DRLIM_LOSS_SIGMOID, with the derivatives by its parameters. SigLIP is this by
// position, with DRLIM_REDUCTION_FACTORS of 1/N.
//
// grad_scale, grad_bias: the derivatives by sigmoid_scale and sigmoid_bias, times the objective's
// scale; overwritten, each null where it is not wanted.
//
// Refused: another loss, and what drlim_cross refuses.
drlim_status drlim_cross_sigmoid_f64(const struct drlim_context *context,
                                     const struct drlim_objective *objective,
                                     struct drlim_matrix_f64 queries,
                                     struct drlim_matrix_f64 keys,
                                     const struct drlim_cross_similar *similar,
                                     struct drlim_matrix_mut_f64 grad_queries,
                                     struct drlim_matrix_mut_f64 grad_keys,
                                     double *grad_scale,
                                     double *grad_bias,
                                     const struct drlim_scratch *scratch,
                                     struct drlim_outcome *outcome);

// Loss and gradients of N triplets by rows, in one pass over memory.
//
// context: may be null. anchor, positive, negative: N x D. weights: N, factors of the triplets'
// values; may be null. ignored: N, triplets to leave out; may be null. out: overwritten as far as
// given; may be null. outcome: written, triplets counted as pairs; may be null.
//
// Refused: shapes that differ from that of anchor, N above 2^32 - 1, and what every call refuses.
drlim_status drlim_triplet_rows_f32(const struct drlim_context *context,
                                    const struct drlim_triplet_objective *objective,
                                    struct drlim_matrix_f32 anchor,
                                    struct drlim_matrix_f32 positive,
                                    struct drlim_matrix_f32 negative,
                                    const float *weights,
                                    const bool *ignored,
                                    const struct drlim_triplet_rows_out_f32 *out,
                                    struct drlim_outcome *outcome);

// Loss and gradient of triplets of the rows of z.
//
// context: may be null. z: B x D. similar: which rows are similar, all others are dissimilar; with
// labels, B of them. mining: the triplets that enter the loss. grad: B x D, overwritten; of null
// data where it is not wanted. scratch: may be null. outcome: written, triplets counted as pairs;
// may be null.
//
// Refused: as by drlim_all_pairs, an unknown mining, and all triplets of more rows than 1448 of
// float or 1024 of double.
drlim_status drlim_triplets_f32(const struct drlim_context *context,
                                const struct drlim_triplet_objective *objective,
                                struct drlim_matrix_f32 z,
                                const struct drlim_similar *similar,
                                drlim_mining mining,
                                struct drlim_matrix_mut_f32 grad,
                                const struct drlim_scratch *scratch,
                                struct drlim_outcome *outcome);

// Loss and gradients of N triplets by rows, in one pass over memory.
//
// context: may be null. anchor, positive, negative: N x D. weights: N, factors of the triplets'
// values; may be null. ignored: N, triplets to leave out; may be null. out: overwritten as far as
// given; may be null. outcome: written, triplets counted as pairs; may be null.
//
// Refused: shapes that differ from that of anchor, N above 2^32 - 1, and what every call refuses.
drlim_status drlim_triplet_rows_f64(const struct drlim_context *context,
                                    const struct drlim_triplet_objective *objective,
                                    struct drlim_matrix_f64 anchor,
                                    struct drlim_matrix_f64 positive,
                                    struct drlim_matrix_f64 negative,
                                    const double *weights,
                                    const bool *ignored,
                                    const struct drlim_triplet_rows_out_f64 *out,
                                    struct drlim_outcome *outcome);

// Loss and gradient of triplets of the rows of z.
//
// context: may be null. z: B x D. similar: which rows are similar, all others are dissimilar; with
// labels, B of them. mining: the triplets that enter the loss. grad: B x D, overwritten; of null
// data where it is not wanted. scratch: may be null. outcome: written, triplets counted as pairs;
// may be null.
//
// Refused: as by drlim_all_pairs, an unknown mining, and all triplets of more rows than 1448 of
// float or 1024 of double.
drlim_status drlim_triplets_f64(const struct drlim_context *context,
                                const struct drlim_triplet_objective *objective,
                                struct drlim_matrix_f64 z,
                                const struct drlim_similar *similar,
                                drlim_mining mining,
                                struct drlim_matrix_mut_f64 grad,
                                const struct drlim_scratch *scratch,
                                struct drlim_outcome *outcome);

// Loss and gradient of the B rows of z as anchors, each against all others, in memory proportional
// to z. SupCon is DRLIM_ANCHOR_LOSS_SOFTMAX by labels; NT-Xent of two views is the same with a
// label for each image.
//
// context: may be null. z: B x D. similar: as for drlim_all_pairs; a row that it leaves out is
// neither an anchor nor a candidate. grad: B x D, overwritten; of null data where it is not wanted.
// values: B, the value of each anchor times its weight; log_sums: B, ln of the sum of e^x over all
// candidates of each; sums: B, what these are made of, see drlim_anchor_sums; grad_scale: the
// derivative by the objective's softmax_scale; each overwritten, and null where it is not wanted.
// scratch: may be null. outcome: written; may be null.
//
// Refused: a gradient or a graph of another size, both or neither of labels and graph, B above
// 2^32 - 1, parameters of the loss out of their domains, grad_scale with a loss that has no
// softmax_scale, weights of the other type alone, known sums that are none, and what every call refuses.
drlim_status drlim_all_anchors_f32(const struct drlim_context *context,
                                   const struct drlim_anchor_objective *objective,
                                   struct drlim_matrix_f32 z,
                                   const struct drlim_similar *similar,
                                   struct drlim_matrix_mut_f32 grad,
                                   float *values,
                                   double *log_sums,
                                   struct drlim_anchor_sums *sums,
                                   double *grad_scale,
                                   const struct drlim_scratch *scratch,
                                   struct drlim_anchor_outcome *outcome);

// Loss and gradients of the N rows of queries, of the M rows of keys, or of both, as anchors: the
// candidates of a query are all keys, those of a key all queries.
//
// context: may be null. queries: N x D. keys: M x D. similar: as for drlim_cross: by position for
// InfoNCE and CLIP, by labels for class vectors as keys. grad_queries: N x D, grad_keys: M x D;
// overwritten, each of null data where it is not wanted. values, log_sums, sums, grad_scale: as for
// drlim_all_anchors, with an element for each anchor: N, M, or N and then M. scratch: may be null.
// outcome: written; may be null.
//
// Refused: shapes that do not go together, samples or keys that are not there,
// DRLIM_ANCHOR_LOSS_LIFTED of one side alone, and what drlim_cross and drlim_all_anchors refuse.
drlim_status drlim_cross_anchors_f32(const struct drlim_context *context,
                                     const struct drlim_anchor_objective *objective,
                                     struct drlim_matrix_f32 queries,
                                     struct drlim_matrix_f32 keys,
                                     const struct drlim_cross_similar *similar,
                                     drlim_anchors anchors,
                                     struct drlim_matrix_mut_f32 grad_queries,
                                     struct drlim_matrix_mut_f32 grad_keys,
                                     float *values,
                                     double *log_sums,
                                     struct drlim_anchor_sums *sums,
                                     double *grad_scale,
                                     const struct drlim_scratch *scratch,
                                     struct drlim_anchor_outcome *outcome);

// Loss and gradient of the B rows of z as anchors, each against all others, in memory proportional
// to z. SupCon is DRLIM_ANCHOR_LOSS_SOFTMAX by labels; NT-Xent of two views is the same with a
// label for each image.
//
// context: may be null. z: B x D. similar: as for drlim_all_pairs; a row that it leaves out is
// neither an anchor nor a candidate. grad: B x D, overwritten; of null data where it is not wanted.
// values: B, the value of each anchor times its weight; log_sums: B, ln of the sum of e^x over all
// candidates of each; sums: B, what these are made of, see drlim_anchor_sums; grad_scale: the
// derivative by the objective's softmax_scale; each overwritten, and null where it is not wanted.
// scratch: may be null. outcome: written; may be null.
//
// Refused: a gradient or a graph of another size, both or neither of labels and graph, B above
// 2^32 - 1, parameters of the loss out of their domains, grad_scale with a loss that has no
// softmax_scale, weights of the other type alone, known sums that are none, and what every call refuses.
drlim_status drlim_all_anchors_f64(const struct drlim_context *context,
                                   const struct drlim_anchor_objective *objective,
                                   struct drlim_matrix_f64 z,
                                   const struct drlim_similar *similar,
                                   struct drlim_matrix_mut_f64 grad,
                                   double *values,
                                   double *log_sums,
                                   struct drlim_anchor_sums *sums,
                                   double *grad_scale,
                                   const struct drlim_scratch *scratch,
                                   struct drlim_anchor_outcome *outcome);

// Loss and gradients of the N rows of queries, of the M rows of keys, or of both, as anchors: the
// candidates of a query are all keys, those of a key all queries.
//
// context: may be null. queries: N x D. keys: M x D. similar: as for drlim_cross: by position for
// InfoNCE and CLIP, by labels for class vectors as keys. grad_queries: N x D, grad_keys: M x D;
// overwritten, each of null data where it is not wanted. values, log_sums, sums, grad_scale: as for
// drlim_all_anchors, with an element for each anchor: N, M, or N and then M. scratch: may be null.
// outcome: written; may be null.
//
// Refused: shapes that do not go together, samples or keys that are not there,
// DRLIM_ANCHOR_LOSS_LIFTED of one side alone, and what drlim_cross and drlim_all_anchors refuse.
drlim_status drlim_cross_anchors_f64(const struct drlim_context *context,
                                     const struct drlim_anchor_objective *objective,
                                     struct drlim_matrix_f64 queries,
                                     struct drlim_matrix_f64 keys,
                                     const struct drlim_cross_similar *similar,
                                     drlim_anchors anchors,
                                     struct drlim_matrix_mut_f64 grad_queries,
                                     struct drlim_matrix_mut_f64 grad_keys,
                                     double *values,
                                     double *log_sums,
                                     struct drlim_anchor_sums *sums,
                                     double *grad_scale,
                                     const struct drlim_scratch *scratch,
                                     struct drlim_anchor_outcome *outcome);

// The distance of row i of a to row i of b, for each of the N rows.
//
// context: may be null. a, b: N x D. distances: N, overwritten. Refused: shapes that differ, an
// unknown distance, and what every call refuses.
drlim_status drlim_row_distances_f32(const struct drlim_context *context,
                                     drlim_distance distance,
                                     struct drlim_matrix_f32 a,
                                     struct drlim_matrix_f32 b,
                                     float *distances);

// The gradients of these distances, by the chain rule: the derivatives of distance i times upstream
// i, which is the derivative of the caller's objective by distance i. Where a distance has no
// derivative, 0 takes its place.
//
// context: may be null. a, b: N x D. upstream: N. grad_a, grad_b: N x D, overwritten. Refused:
// shapes that differ, an unknown distance, and what every call refuses.
drlim_status drlim_row_distances_backward_f32(const struct drlim_context *context,
                                              drlim_distance distance,
                                              struct drlim_matrix_f32 a,
                                              struct drlim_matrix_f32 b,
                                              const float *upstream,
                                              struct drlim_matrix_mut_f32 grad_a,
                                              struct drlim_matrix_mut_f32 grad_b);

// The Euclidean distances of every row of a from every row of b.
//
// context: may be null. a: N x D. b: M x D. distances: N x M, overwritten. Refused: shapes that do
// not go together, N or M above 2^32 - 1, and what every call refuses.
drlim_status drlim_distance_matrix_f32(const struct drlim_context *context,
                                       struct drlim_matrix_f32 a,
                                       struct drlim_matrix_f32 b,
                                       struct drlim_matrix_mut_f32 distances);

// Which of n pairs are hard: the similar ones farther apart than the nearest dissimilar pair, and
// the dissimilar ones closer than the farthest similar pair; none where a kind is missing.
//
// distances: n. similar: n. ignored: n; may be null. places: room for n, of which the first count
// are written, ascending. count: written. Refused: n above 2^32 - 1, and what every call refuses.
drlim_status drlim_hard_pairs_f32(const float *distances,
                                  const bool *similar,
                                  const bool *ignored,
                                  size_t n,
                                  uint32_t *places,
                                  size_t *count);

// The distance of row i of a to row i of b, for each of the N rows.
//
// context: may be null. a, b: N x D. distances: N, overwritten. Refused: shapes that differ, an
// unknown distance, and what every call refuses.
drlim_status drlim_row_distances_f64(const struct drlim_context *context,
                                     drlim_distance distance,
                                     struct drlim_matrix_f64 a,
                                     struct drlim_matrix_f64 b,
                                     double *distances);

// The gradients of these distances, by the chain rule: the derivatives of distance i times upstream
// i, which is the derivative of the caller's objective by distance i. Where a distance has no
// derivative, 0 takes its place.
//
// context: may be null. a, b: N x D. upstream: N. grad_a, grad_b: N x D, overwritten. Refused:
// shapes that differ, an unknown distance, and what every call refuses.
drlim_status drlim_row_distances_backward_f64(const struct drlim_context *context,
                                              drlim_distance distance,
                                              struct drlim_matrix_f64 a,
                                              struct drlim_matrix_f64 b,
                                              const double *upstream,
                                              struct drlim_matrix_mut_f64 grad_a,
                                              struct drlim_matrix_mut_f64 grad_b);

// The Euclidean distances of every row of a from every row of b.
//
// context: may be null. a: N x D. b: M x D. distances: N x M, overwritten. Refused: shapes that do
// not go together, N or M above 2^32 - 1, and what every call refuses.
drlim_status drlim_distance_matrix_f64(const struct drlim_context *context,
                                       struct drlim_matrix_f64 a,
                                       struct drlim_matrix_f64 b,
                                       struct drlim_matrix_mut_f64 distances);

// Which of n pairs are hard: the similar ones farther apart than the nearest dissimilar pair, and
// the dissimilar ones closer than the farthest similar pair; none where a kind is missing.
//
// distances: n. similar: n. ignored: n; may be null. places: room for n, of which the first count
// are written, ascending. count: written. Refused: n above 2^32 - 1, and what every call refuses.
drlim_status drlim_hard_pairs_f64(const double *distances,
                                  const bool *similar,
                                  const bool *ignored,
                                  size_t n,
                                  uint32_t *places,
                                  size_t *count);

// The k nearest rows of references for each row of queries, exact. Of equally distant rows, that of
// the lowest index comes first; a distance that is NaN comes last.
//
// context: may be null. queries: N x D. references: M x D. found: N x k. Refused: columns that
// differ, k that is 0 or above M, N or M above 2^32 - 1, and what every call refuses.
drlim_status drlim_nearest_f32(const struct drlim_context *context,
                               struct drlim_matrix_f32 queries,
                               struct drlim_matrix_f32 references,
                               size_t k,
                               struct drlim_found_f32 found);

// The k nearest of the other rows for each row of z.
//
// context: may be null. z: N x D. found: N x k. Refused: k that is 0 or not below N, N above
// 2^32 - 1, and what every call refuses.
drlim_status drlim_nearest_others_f32(const struct drlim_context *context,
                                      struct drlim_matrix_f32 z,
                                      size_t k,
                                      struct drlim_found_f32 found);

// For each row of z the k similar rows that are farthest, and the k dissimilar ones that are
// nearest.
//
// context: may be null. z: N x D. similar: which rows are similar; with labels, N of them.
// of_similar, of_dissimilar: N x k each. Refused: k that is 0 or not below N, N above 2^32 - 1,
// both or neither of labels and graph, and what every call refuses.
drlim_status drlim_hardest_f32(const struct drlim_context *context,
                               struct drlim_matrix_f32 z,
                               const struct drlim_similar *similar,
                               size_t k,
                               struct drlim_found_f32 of_similar,
                               struct drlim_found_f32 of_dissimilar);

// The k nearest rows of references for each row of queries, exact. Of equally distant rows, that of
// the lowest index comes first; a distance that is NaN comes last.
//
// context: may be null. queries: N x D. references: M x D. found: N x k. Refused: columns that
// differ, k that is 0 or above M, N or M above 2^32 - 1, and what every call refuses.
drlim_status drlim_nearest_f64(const struct drlim_context *context,
                               struct drlim_matrix_f64 queries,
                               struct drlim_matrix_f64 references,
                               size_t k,
                               struct drlim_found_f64 found);

// The k nearest of the other rows for each row of z.
//
// context: may be null. z: N x D. found: N x k. Refused: k that is 0 or not below N, N above
// 2^32 - 1, and what every call refuses.
drlim_status drlim_nearest_others_f64(const struct drlim_context *context,
                                      struct drlim_matrix_f64 z,
                                      size_t k,
                                      struct drlim_found_f64 found);

// For each row of z the k similar rows that are farthest, and the k dissimilar ones that are
// nearest.
//
// context: may be null. z: N x D. similar: which rows are similar; with labels, N of them.
// of_similar, of_dissimilar: N x k each. Refused: k that is 0 or not below N, N above 2^32 - 1,
// both or neither of labels and graph, and what every call refuses.
drlim_status drlim_hardest_f64(const struct drlim_context *context,
                               struct drlim_matrix_f64 z,
                               const struct drlim_similar *similar,
                               size_t k,
                               struct drlim_found_f64 of_similar,
                               struct drlim_found_f64 of_dissimilar);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DRLIM_H */
