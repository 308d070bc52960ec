//! Merging the sums of anchors, and reducing their totals.

use super::*;

const NOTHING: drlim_log_sum = drlim_log_sum { count: 0, largest: 0.0, sum: 0.0 };

const SOME: drlim_log_sum = drlim_log_sum { count: 2, largest: 1.0, sum: 1.5 };

/// Sums of an anchor whose similar pairs have been looked at.
const LOOKED: drlim_anchor_sums = drlim_anchor_sums {
    similar: SOME,
    dissimilar: NOTHING,
    exponents: 1.5,
    looked: 1,
    each: [0.25, 0.5],
};

arguments!(Add = drlim_anchor_sums_add(sums: *mut drlim_anchor_sums, part: *const drlim_anchor_sums,
    anchors: usize));
arguments!(AddEach = drlim_anchor_sums_add_each(sums: *mut drlim_anchor_sums,
    part: *const drlim_anchor_sums, anchors: usize));
arguments!(Reduce = drlim_anchor_reduce(reduction: drlim_anchor_reduction, totals: drlim_anchor_totals,
    value: *mut f64, factor: *mut f64));
named!(Add, AddEach, Reduce);

pub(super) fn all(tried: &mut Tried) {
    let (mut sums, part) = ([LOOKED; 2], [LOOKED; 2]);
    let other = drlim_anchor_sums { similar: drlim_log_sum { count: 1, ..SOME }, ..LOOKED };
    let another = drlim_anchor_sums { dissimilar: SOME, ..LOOKED };
    let not_looked = drlim_anchor_sums { looked: 0, ..LOOKED };
    let to = sums.as_mut_ptr();
    let add = Add { sums: to, part: part.as_ptr(), anchors: 2 };
    let add_each = AddEach { sums: to, part: part.as_ptr(), anchors: 2 };
    macro_rules! both {
        ($valid:expr) => {
            refuse!(tried, $valid,
                sums: [null_mut() => NULL_POINTER, misaligned_mut(to) => MISALIGNED,
                    part.as_ptr().cast_mut() => OVERLAP],
                part: [null() => NULL_POINTER, misaligned(part.as_ptr()) => MISALIGNED,
                    to.wrapping_add(1) => OVERLAP],
                anchors: [usize::MAX => MEMORY],
            );
        };
    }
    both!(add);
    both!(add_each);
    for wrong in [[LOOKED, other], [LOOKED, another], [LOOKED, not_looked]] {
        refuse!(tried, add_each, part: [wrong.as_ptr() => VALUE]);
        assert!(message().starts_with("part[1] has other log-sums than sums[1]"), "{}", message());
    }
    assert_eq!(sums, [LOOKED; 2]);
    let not_looked = [not_looked; 2];
    let mut sums = not_looked;
    let of_none = AddEach { sums: sums.as_mut_ptr(), ..add_each };
    tried.refused(AddEach::NAME, "sums", of_none.call(), drlim_status::VALUE);
    assert_eq!(sums, not_looked);
    optional!(tried, Add { anchors: 0, ..add }, sums: null_mut(), part: null());
    optional!(tried, AddEach { anchors: 0, ..add_each }, sums: null_mut(), part: null());

    let (mut value, mut factor) = (77.0, 77.0);
    let valid = Reduce {
        reduction: drlim_anchor_reduction::MEAN,
        totals: drlim_anchor_totals::default(),
        value: &mut value,
        factor: &mut factor,
    };
    refuse!(tried, valid,
        reduction: [drlim_anchor_reduction(99) => VALUE, drlim_anchor_reduction::FACTOR => VALUE],
        value: [misaligned_mut(valid.value) => MISALIGNED],
        factor: [misaligned_mut(valid.factor) => MISALIGNED, valid.value => OVERLAP],
    );
    assert_eq!([value, factor], [77.0; 2]);
    optional!(tried, valid, value: null_mut(), factor: null_mut());
}
