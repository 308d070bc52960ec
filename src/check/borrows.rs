//! Programs that the borrow checker must refuse: outputs that overlap each other or an input, and views
//! that outlive their memory. Each text is compiled twice: with a line that must not compile, and with
//! another one in its place, which shows that it is this line alone that does not. (The error codes are
//! compared by a nightly compiler only.)

#![forbid(unsafe_code)]

/// A text with a line that is refused, with an error code where it has one, and with a line that is not
/// refused.
macro_rules! refused {
    ($name:ident, $fence:literal, $before:literal, $wrong:literal, $right:literal, $after:literal) => {
        #[doc = concat!("```compile_fail", $fence, "\n", $before, "\n", $wrong, "\n", $after, "\n```")]
        #[doc = concat!("```\n", $before, "\n", $right, "\n", $after, "\n```")]
        struct $name;
    };
}

refused! {
    TwoGradientsInOnePlace, ",E0499",
    "use drlim::{MatMut, batch::RowsOut};
    let (mut g, mut h) = ([0.0_f32; 4], [0.0_f32; 4]);
    let first = MatMut::new(&mut g, 2, 2)?;",
    "let second = MatMut::new(&mut g, 2, 2)?;",
    "let second = MatMut::new(&mut h, 2, 2)?;",
    "let out = RowsOut::grads(first, second);
    # Ok::<(), drlim::Error>(())"
}

refused! {
    AGradientOverItsInput, ",E0502",
    "use drlim::batch::{RowsOut, rows};
    use drlim::loss::{Contrastive, Objective};
    use drlim::{Cx, Mat, MatMut};
    let (mut a, b, mut g, mut h) = ([0.0_f32; 4], [1.0_f32; 4], [0.0; 4], [0.0; 4]);
    let loss = Contrastive::new(1.0)?;
    let (x, y) = (Mat::new(&a, 2, 2)?, Mat::new(&b, 2, 2)?);",
    "let out = RowsOut::grads(MatMut::new(&mut a, 2, 2)?, MatMut::new(&mut h, 2, 2)?);",
    "let out = RowsOut::grads(MatMut::new(&mut g, 2, 2)?, MatMut::new(&mut h, 2, 2)?);",
    "rows(&Cx::default(), &Objective::sum(&loss), x, y, &[true; 2], out)?;
    # Ok::<(), drlim::Error>(())"
}

refused! {
    DistancesOverValues, ",E0499",
    "use drlim::batch::IndexedOut;
    let (mut distances, mut values) = ([0.0_f32; 2], [0.0_f32; 2]);
    let out = IndexedOut::none().distances(&mut distances);",
    "let out = out.values(&mut distances);",
    "let out = out.values(&mut values);",
    "drop(out.slopes(&mut [0.0; 2]));"
}

refused! {
    SlopesOfTripletsInOnePlace, ",E0499",
    "use drlim::batch::TripletRowsOut;
    let [mut ap, mut an, mut pn] = [[0.0_f32; 2]; 3];",
    "let out = TripletRowsOut::none().slopes(&mut ap, &mut an, &mut an);",
    "let out = TripletRowsOut::none().slopes(&mut ap, &mut an, &mut pn);",
    "drop(out);"
}

refused! {
    OneViewForBothSides, ",E0382",
    "use drlim::{MatMut, batch::CrossOut};
    let mut gradients = [0.0_f32; 8];
    let both = MatMut::new(&mut gradients, 4, 2)?;",
    "let (queries, keys) = (both, both);",
    "let (queries, keys) = both.split_rows_at(1);",
    "let out = CrossOut::grads(queries, keys);
    # Ok::<(), drlim::Error>(())"
}

refused! {
    AWholeAfterItsHalves, ",E0382",
    "use drlim::MatMut;
    let mut data = [0.0_f32; 8];
    let mut whole = MatMut::new(&mut data, 2, 4)?;",
    "let (mut left, mut right) = whole.split_cols_at(2);",
    "let (mut left, mut right) = whole.rb_mut().split_cols_at(2);",
    "left.fill(1.0);
    right.fill(2.0);
    whole.fill(0.0);
    # Ok::<(), drlim::Error>(())"
}

refused! {
    AWholeAmongItsHalves, ",E0499",
    "use drlim::MatMut;
    let mut data = [0.0_f32; 8];
    let mut whole = MatMut::new(&mut data, 2, 4)?;
    let (mut top, mut bottom) = whole.rb_mut().split_rows_at(1);
    top.fill(1.0);",
    "whole.fill(0.0);",
    "",
    "bottom.fill(2.0);
    whole.fill(0.0);
    # Ok::<(), drlim::Error>(())"
}

refused! {
    TwoRowsOfOneView, ",E0499",
    "use drlim::MatMut;
    let mut data = [0.0_f32; 8];
    let mut view = MatMut::new(&mut data, 2, 4)?;
    let (mut top, mut bottom) = view.rb_mut().split_rows_at(1);
    let first = top.row_mut(0);",
    "let second = top.row_mut(0);",
    "let second = bottom.row_mut(0);",
    "first.swap_with_slice(second);
    # Ok::<(), drlim::Error>(())"
}

refused! {
    ReadingWhatIsWritten, ",E0502",
    "use drlim::MatMut;
    let mut data = [0.0_f32; 8];
    let mut view = MatMut::new(&mut data, 2, 4)?;",
    "let (to, from) = (view.rb_mut(), view.rb());",
    "let (to, from) = (&mut [0.0; 4], view.rb());",
    "let mut to = to;
    assert_eq!(from.rows(), 2);
    let _ = &mut to;
    # Ok::<(), drlim::Error>(())"
}

refused! {
    AViewOfWhatIsGone, ",E0597",
    "use drlim::MatMut;
    let mut lasting = vec![0.0_f32; 4];
    let mut view = MatMut::new(&mut lasting, 2, 2)?;
    {
        let mut passing = vec![0.0_f32; 4];",
    "view = MatMut::new(&mut passing, 2, 2)?;",
    "MatMut::new(&mut passing, 2, 2)?.fill(1.0);",
    "}
    view.fill(0.0);
    # Ok::<(), drlim::Error>(())"
}

refused! {
    ChangingWhatIsLookedAt, ",E0506",
    "use drlim::Mat;
    let mut data = [0.0_f32; 4];
    let view = Mat::new(&data, 2, 2)?;",
    "data[0] = 1.0;",
    "",
    "assert_eq!(view.row(0)[0], 0.0);
    data[0] = 2.0;
    # Ok::<(), drlim::Error>(())"
}

refused! {
    EmbeddingsOfThePassBefore, ",E0499",
    "use drlim::nn::{Dense, Network, Shape, Workspace};
    use drlim::{Cx, Mat};
    let net = Network::<f32>::builder(Shape::flat(1)).layer(\"map\", Dense::new(1)).build(1)?;
    let (x, cx) = (Mat::new(&[1.0], 1, 1)?, Cx::default());
    let (mut one, mut other) = (Workspace::training(&net, 1)?, Workspace::training(&net, 1)?);
    let before = net.forward(&cx, x, &mut one)?;",
    "let after = net.forward(&cx, x, &mut one)?;",
    "let after = net.forward(&cx, x, &mut other)?;",
    "assert_eq!(before.row(0), after.row(0));
    # Ok::<(), drlim::Error>(())"
}

refused! {
    LookingAtCellsFromTwoThreads, ",E0277",
    "use drlim::Mat;
    use std::cell::Cell;
    let (cells, numbers) = ([Cell::new(1.0)], [1.0]);",
    "let view = Mat::new(&cells, 1, 1)?;",
    "let view = Mat::new(&numbers, 1, 1)?;",
    "std::thread::scope(|scope| drop(scope.spawn(move || view.rows())));
    # Ok::<(), drlim::Error>(())"
}

refused! {
    WritingCountsOfAnotherThread, ",E0277",
    "use drlim::MatMut;
    use std::rc::Rc;
    use std::sync::Arc;",
    "let mut counted = [Rc::new(1)];",
    "let mut counted = [Arc::new(1)];",
    "let mut view = MatMut::new(&mut counted, 1, 1)?;
    std::thread::scope(|scope| drop(scope.spawn(move || view.row_mut(0).swap(0, 0))));
    # Ok::<(), drlim::Error>(())"
}

refused! {
    WritingWhatDoesNotLastAsLong, "",
    "use drlim::MatMut;",
    "fn shorter<'a>(view: MatMut<'a, &'static str>) -> MatMut<'a, &'a str> { view }",
    "fn shorter<'a>(view: MatMut<'static, &'a str>) -> MatMut<'a, &'a str> { view }",
    ""
}
