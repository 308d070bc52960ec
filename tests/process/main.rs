//! What the whole process takes from the heap.
//!
//! The only test of its binary, since what other tests take at the same time would be measured as well.

#[path = "../support/mod.rs"]
mod support;

mod allocator;
mod batches;
mod steps;

#[test]
fn calls_take_memory_of_their_rows_and_training_steps_take_none() {
    batches::calls_take_memory_of_their_rows_and_never_of_their_pairs();
    steps::a_training_step_in_a_pool_allocates_nothing_on_any_of_its_threads();
}
