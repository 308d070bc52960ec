//! Contexts, scratch memory, graphs and lists of pairs as handles; how values of pairs are reduced.

use super::*;

arguments!(ContextNew = drlim_context_new(tier: drlim_tier, threads: usize, context: *mut *mut drlim_context));
arguments!(ContextDescribe = drlim_context_describe(context: *const drlim_context, tier: *mut drlim_tier,
    threads: *mut usize));
arguments!(Reduce = drlim_reduce(reduction: drlim_reduction, similar: drlim_sums, dissimilar: drlim_sums,
    value: *mut f64, similar_factor: *mut f64, dissimilar_factor: *mut f64));
arguments!(ScratchNew = drlim_scratch_new(scratch: *mut *mut drlim_scratch));
arguments!(GraphNew = drlim_graph_new(samples: usize, pairs: *const u32, count: usize,
    graph: *mut *mut drlim_graph));
arguments!(GraphSize = drlim_graph_size(graph: *const drlim_graph, samples: *mut usize, edges: *mut usize));
arguments!(GraphPairs = drlim_graph_pairs(graph: *const drlim_graph, pairs: *mut u32));
arguments!(PairsNew = drlim_pairs_new(rows: usize, pairs: *const u32, count: usize,
    list: *mut *mut drlim_pairs));
named!(ContextNew, ContextDescribe, Reduce, ScratchNew, GraphNew, GraphSize, GraphPairs, PairsNew);

pub(super) fn all(tried: &mut Tried) {
    let mut context = null_mut();
    let valid = ContextNew { tier: drlim_tier::PORTABLE, threads: 1, context: &mut context };
    refuse!(tried, valid,
        tier: [drlim_tier(99) => VALUE],
        threads: [5000 => VALUE, usize::MAX => VALUE],
        context: [null_mut() => NULL_POINTER, misaligned_mut(valid.context) => MISALIGNED],
    );
    assert!(context.is_null());
    crate::capi::done(valid.call());

    let (mut tier, mut threads) = (drlim_tier(77), 77);
    let valid = ContextDescribe { context, tier: &mut tier, threads: &mut threads };
    refuse!(tried, valid,
        context: [misaligned(context) => MISALIGNED],
        tier: [misaligned_mut(valid.tier) => MISALIGNED, valid.threads.cast() => OVERLAP],
        threads: [misaligned_mut(valid.threads) => MISALIGNED],
    );
    assert_eq!((tier, threads), (drlim_tier(77), 77));
    optional!(tried, valid, context: null(), tier: null_mut(), threads: null_mut());

    let (mut value, mut of_similar, mut of_dissimilar) = (77.0, 77.0, 77.0);
    let sums = drlim_sums::default();
    let valid = Reduce {
        reduction: drlim_reduction::MEAN,
        similar: sums,
        dissimilar: sums,
        value: &mut value,
        similar_factor: &mut of_similar,
        dissimilar_factor: &mut of_dissimilar,
    };
    refuse!(tried, valid,
        reduction: [drlim_reduction(99) => VALUE, drlim_reduction::FACTORS => VALUE],
        value: [misaligned_mut(valid.value) => MISALIGNED],
        similar_factor: [misaligned_mut(valid.similar_factor) => MISALIGNED, valid.value => OVERLAP],
        dissimilar_factor: [misaligned_mut(valid.dissimilar_factor) => MISALIGNED],
    );
    assert_eq!([value, of_similar, of_dissimilar], [77.0; 3]);
    optional!(tried, valid, value: null_mut(), similar_factor: null_mut(), dissimilar_factor: null_mut());

    let mut scratch = null_mut();
    let valid = ScratchNew { scratch: &mut scratch };
    refuse!(tried, valid,
        scratch: [null_mut() => NULL_POINTER, misaligned_mut(valid.scratch) => MISALIGNED]);

    let mut graph = null_mut();
    let valid = GraphNew { samples: ROWS, pairs: PAIRS.as_ptr(), count: 3, graph: &mut graph };
    let itself = [0_u32, 1, 2, 2];
    refuse!(tried, valid,
        samples: [5 => INDEX, usize::MAX => PAIRS],
        pairs: [null() => NULL_POINTER, misaligned(valid.pairs) => MISALIGNED],
        count: [usize::MAX => MEMORY, usize::MAX / 2 => MEMORY],
        graph: [null_mut() => NULL_POINTER, misaligned_mut(valid.graph) => MISALIGNED],
    );
    let mut slots = [1_u64 << 32; 3]; // pairs of numbers, in which a handle would go
    let to_slots =
        GraphNew { pairs: slots.as_ptr().cast(), graph: slots.as_mut_ptr().cast(), ..valid };
    assert_eq!(to_slots.call(), drlim_status::OVERLAP, "{}", message());
    let of_itself = GraphNew { pairs: itself.as_ptr(), count: 2, ..valid }.call();
    assert_eq!(of_itself, drlim_status::PAIRS, "{}", message());
    assert!(graph.is_null());
    crate::capi::done(valid.call());

    let (mut samples, mut edges) = (77, 77);
    let valid = GraphSize { graph, samples: &mut samples, edges: &mut edges };
    refuse!(tried, valid,
        graph: [null() => NULL_POINTER, misaligned(graph) => MISALIGNED],
        samples: [misaligned_mut(valid.samples) => MISALIGNED],
        edges: [misaligned_mut(valid.edges) => MISALIGNED, valid.samples => OVERLAP],
    );
    assert_eq!((samples, edges), (77, 77));
    optional!(tried, valid, samples: null_mut(), edges: null_mut());

    let mut pairs = [77_u32; 6];
    let valid = GraphPairs { graph, pairs: pairs.as_mut_ptr() };
    refuse!(tried, valid,
        graph: [null() => NULL_POINTER, misaligned(graph) => MISALIGNED],
        pairs: [null_mut() => NULL_POINTER, misaligned_mut(valid.pairs) => MISALIGNED],
    );
    assert_eq!(pairs, [77; 6]);

    let mut list = null_mut();
    let valid = PairsNew { rows: ROWS, pairs: PAIRS.as_ptr(), count: 3, list: &mut list };
    refuse!(tried, valid,
        rows: [5 => INDEX, usize::MAX => PAIRS],
        pairs: [null() => NULL_POINTER, misaligned(valid.pairs) => MISALIGNED],
        count: [usize::MAX => MEMORY],
        list: [null_mut() => NULL_POINTER, misaligned_mut(valid.list) => MISALIGNED],
    );
    assert!(list.is_null());

    // SAFETY: handles of this test, not used any more; null is fine.
    unsafe {
        drlim_context_free(context);
        drlim_graph_free(graph);
        drlim_context_free(null_mut());
        drlim_scratch_free(null_mut());
        drlim_pairs_free(null_mut());
        drlim_graph_free(null_mut());
    }
}
