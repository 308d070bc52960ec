// Losses and gradients through the C interface, each held against what it must be; ends with 0 where all
// are. See check for how it is built.

#include <drlim.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 64, COLS = 19 };

static int failures = 0;

static void expect(bool holds, const char *promise) {
    printf("%-4s %s\n", holds ? "ok" : "FAIL", promise);
    failures += !holds;
}

static void call(drlim_status status) {
    if (status != DRLIM_STATUS_OK) {
        fprintf(stderr, "status %d: %s\n", status, drlim_last_error());
        exit(1);
    }
}

static bool close_to(double a, double b, double tolerance) {
    return fabs(a - b) <= tolerance * (1 + fabs(b));
}

// Numbers between -1 and 1, the same in every run.
static double next(void) {
    static uint64_t state = 7;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(state >> 32) / 2147483648.0;
}

// max(0, m - d)^2/2 and d^2/2, as a function of the caller's.
static int32_t contrastive(void *data, double *d2, const bool *similar, double *values, size_t n) {
    double margin = *(const double *)data;
    for (size_t i = 0; i < n; i++) {
        double d = sqrt(d2[i]), gap = fmax(0, margin - d);
        values[i] = similar[i] ? d2[i] / 2 : gap * gap / 2;
        d2[i] = similar[i] ? 1 : d > 0 ? -gap / d : 0;
    }
    return 0;
}

static double z[ROWS * COLS], grad[ROWS * COLS], other_grad[ROWS * COLS];
static int64_t labels[ROWS];

static drlim_matrix_f64 all(void) {
    return (drlim_matrix_f64){z, ROWS, COLS, COLS};
}

static drlim_matrix_mut_f64 to(double *data) {
    return (drlim_matrix_mut_f64){data, ROWS, COLS, COLS};
}

// The first half of the rows with the second, by rows.
static double by_rows(const drlim_objective *objective, const drlim_rows_out_f64 *out) {
    static bool similar[ROWS / 2];
    for (size_t i = 0; i < ROWS / 2; i++) similar[i] = labels[i] == labels[ROWS / 2 + i];
    drlim_matrix_f64 a = {z, ROWS / 2, COLS, COLS}, b = {z + ROWS / 2 * COLS, ROWS / 2, COLS, COLS};
    drlim_outcome outcome;
    call(drlim_rows_f64(NULL, objective, a, b, similar, NULL, NULL, out, &outcome));
    return outcome.value;
}

static void gradient_is_that_of_the_value(const drlim_objective *objective) {
    drlim_rows_out_f64 out = {
        .grad_a = {grad, ROWS / 2, COLS, COLS},
        .grad_b = {grad + ROWS / 2 * COLS, ROWS / 2, COLS, COLS},
    };
    by_rows(objective, &out);
    bool holds = true;
    for (size_t i = 0; i < ROWS * COLS; i += 7) {
        double step = 1e-5, kept = z[i];
        z[i] = kept + step;
        double above = by_rows(objective, NULL);
        z[i] = kept - step;
        double below = by_rows(objective, NULL);
        z[i] = kept;
        holds = holds && close_to((above - below) / (2 * step), grad[i], 1e-7);
    }
    expect(holds, "the gradient is the finite difference of the value");
}

static void every_pair_once(const drlim_objective *objective, const drlim_context *context) {
    drlim_scratch *scratch;
    drlim_pairs *list;
    call(drlim_scratch_new(&scratch));
    static uint32_t pairs[ROWS * ROWS];
    static bool similar[ROWS * ROWS / 2];
    size_t count = 0;
    for (uint32_t i = 0; i < ROWS; i++) {
        for (uint32_t j = i + 1; j < ROWS; j++) {
            pairs[2 * count] = i;
            pairs[2 * count + 1] = j;
            similar[count++] = labels[i] == labels[j];
        }
    }
    call(drlim_pairs_new(ROWS, pairs, count, &list));
    drlim_similar by_label = {.labels = labels};
    drlim_indexed_out_f64 out = {.grad = to(other_grad)};
    drlim_outcome batch, listed;
    call(drlim_all_pairs_f64(context, objective, all(), &by_label, to(grad), scratch, &batch));
    call(drlim_indexed_f64(context, objective, all(), list, similar, NULL, NULL, &out, scratch, &listed));
    bool holds = close_to(batch.value, listed.value, 1e-11) && batch.pairs == count;
    for (size_t i = 0; i < ROWS * COLS; i++) holds = holds && close_to(grad[i], other_grad[i], 1e-11);
    expect(holds, "all pairs of a batch are the pairs of a list that has them all");
    drlim_pairs_free(list);
    drlim_scratch_free(scratch);
}

static void own_loss(const drlim_objective *objective) {
    drlim_objective own = drlim_objective_new(DRLIM_LOSS_CALLBACK, 1, objective->reduction);
    double margin = objective->margin;
    own.callback_f64 = contrastive;
    own.callback_data = &margin;
    expect(close_to(by_rows(&own, NULL), by_rows(objective, NULL), 1e-14), "a loss of one's own is the same");
}

static void triplets(void) {
    drlim_triplet_objective objective =
        drlim_triplet_objective_new(DRLIM_TRIPLET_LOSS_MARGIN, 0.5, DRLIM_REDUCTION_MEAN);
    drlim_similar by_label = {.labels = labels};
    drlim_matrix_mut_f64 none = {0};
    drlim_outcome outcome;
    call(drlim_triplets_f64(NULL, &objective, all(), &by_label, DRLIM_MINING_HARDEST, none, NULL, &outcome));

    // The same triplets, found and written out.
    static uint32_t farthest[ROWS], nearest[ROWS];
    static double positive[ROWS * COLS], negative[ROWS * COLS];
    drlim_found_f64 of_similar = {.indices = farthest}, of_dissimilar = {.indices = nearest};
    call(drlim_hardest_f64(NULL, all(), &by_label, 1, of_similar, of_dissimilar));
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t k = 0; k < COLS; k++) {
            positive[i * COLS + k] = z[farthest[i] * COLS + k];
            negative[i * COLS + k] = z[nearest[i] * COLS + k];
        }
    }
    drlim_matrix_f64 p = {positive, ROWS, COLS, COLS}, n = {negative, ROWS, COLS, COLS};
    drlim_outcome by_rows;
    call(drlim_triplet_rows_f64(NULL, &objective, all(), p, n, NULL, NULL, NULL, &by_rows));
    expect(close_to(outcome.value, by_rows.value, 1e-12) && outcome.pairs == ROWS,
           "the hardest triplets are those of the hardest pairs");
}

static void refusals(const drlim_objective *objective) {
    drlim_matrix_f64 short_one = {z, ROWS - 1, COLS, COLS};
    static bool similar[ROWS];
    drlim_outcome outcome = {.value = -1};
    drlim_status status =
        drlim_rows_f64(NULL, objective, all(), short_one, similar, NULL, NULL, NULL, &outcome);
    expect(status == DRLIM_STATUS_SHAPE && outcome.value == -1, "another shape is refused");
    printf("     %s\n", drlim_last_error());
    status = drlim_row_distances_f64(NULL, DRLIM_DISTANCE_EUCLIDEAN, all(), all(), z + COLS);
    expect(status == DRLIM_STATUS_OVERLAP, "writing over an input is refused");
    printf("     %s\n", drlim_last_error());
}

int main(void) {
    for (size_t i = 0; i < ROWS * COLS; i++) z[i] = next();
    for (size_t i = 0; i < ROWS; i++) labels[i] = (int64_t)i % 5;
    drlim_tier tier;
    size_t threads;
    drlim_context *two_threads;
    call(drlim_context_new(DRLIM_TIER_DEFAULT, 2, &two_threads));
    call(drlim_context_describe(two_threads, &tier, &threads));
    printf("drlim %s, %s, %zu threads\n", drlim_version(), drlim_tier_name(tier), threads);

    drlim_objective mean = drlim_objective_new(DRLIM_LOSS_CONTRASTIVE, 4, DRLIM_REDUCTION_MEAN);
    gradient_is_that_of_the_value(&mean);
    every_pair_once(&mean, two_threads);
    own_loss(&mean);
    triplets();
    refusals(&mean);
    drlim_context_free(two_threads);
    return failures > 0;
}
