//! The pointers of a call, checked before any view of them is made: none is null or misaligned, and no output
//! overlaps another argument.

use std::slice;

use super::extent::{Extent, overlap};
use super::status::Refusal;
use crate::error::Error;

impl Extent {
    /// Refused where there are elements and `data` is null or misaligned, or their bytes pass the end of
    /// what can be addressed.
    pub fn new<T>(
        arg: &'static str,
        data: *const T,
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Result<Self, Refusal> {
        if rows == 0 || cols == 0 {
            return Ok(Extent::EMPTY);
        }
        if data.is_null() {
            return Err(Refusal::Null { arg });
        }
        if !data.is_aligned() {
            return Err(Refusal::Misaligned { arg, align: align_of::<T>() });
        }
        let start = data.addr();
        let elements = (rows - 1).checked_mul(stride).and_then(|gaps| gaps.checked_add(cols));
        let bytes = elements.and_then(|elements| elements.checked_mul(size_of::<T>()));
        let fits = bytes.is_some_and(|bytes| {
            isize::try_from(bytes).is_ok() && start.checked_add(bytes).is_some()
        });
        if !fits {
            return Err(Error::Overflow { what: arg }.into());
        }
        // A single row has no next one, so its stride does not matter.
        let stride = if rows == 1 { 0 } else { stride * size_of::<T>() };
        Ok(Extent { start, rows, width: cols * size_of::<T>(), stride })
    }
}

/// An argument that points somewhere.
#[derive(Clone, Copy)]
pub(super) struct PointerArg {
    pub arg: &'static str,
    pub written: bool,
    pub extent: Extent,
}

/// The most pointers that a call takes.
const MOST: usize = 24;

/// All arguments of a call that point somewhere.
pub(super) struct PointerArgs {
    places: [PointerArg; MOST],
    len: usize,
}

impl PointerArgs {
    pub fn new() -> Self {
        let nowhere = PointerArg { arg: "", written: false, extent: Extent::EMPTY };
        PointerArgs { places: [nowhere; MOST], len: 0 }
    }

    pub fn add(&mut self, place: PointerArg) {
        self.places[self.len] = place;
        self.len += 1;
    }

    /// A list that is read.
    pub fn input<T>(
        &mut self,
        arg: &'static str,
        data: *const T,
        len: usize,
    ) -> Result<List<T>, Refusal> {
        self.add(PointerArg { arg, written: false, extent: Extent::new(arg, data, 1, len, len)? });
        Ok(List { data, len })
    }

    /// A list that is written.
    pub fn output<T>(
        &mut self,
        arg: &'static str,
        data: *mut T,
        len: usize,
    ) -> Result<ListMut<T>, Refusal> {
        self.add(PointerArg { arg, written: true, extent: Extent::new(arg, data, 1, len, len)? });
        Ok(ListMut { data, len })
    }

    /// A list that is read, or none where `data` is null.
    pub fn optional_input<T>(
        &mut self,
        arg: &'static str,
        data: *const T,
        len: usize,
    ) -> Result<Option<List<T>>, Refusal> {
        if data.is_null() { Ok(None) } else { self.input(arg, data, len).map(Some) }
    }

    /// A list that is written, or none where `data` is null.
    pub fn optional<T>(
        &mut self,
        arg: &'static str,
        data: *mut T,
        len: usize,
    ) -> Result<Option<ListMut<T>>, Refusal> {
        if data.is_null() { Ok(None) } else { self.output(arg, data, len).map(Some) }
    }

    /// The pointer for one result, if it is wanted.
    pub fn result<T>(&mut self, arg: &'static str, to: *mut T) -> Result<Written<T>, Refusal> {
        self.optional(arg, to, 1)?;
        Written::new(arg, to)
    }

    /// The pointer for one result.
    pub fn needed<T>(&mut self, arg: &'static str, to: *mut T) -> Result<Written<T>, Refusal> {
        self.output(arg, to, 1)?;
        Written::new(arg, to)
    }

    /// One object that is read, or none where `from` is null.
    ///
    /// # Safety
    /// `from` is null, misaligned, or can be read for 'a.
    pub unsafe fn read<'a, S>(
        &mut self,
        arg: &'static str,
        from: *const S,
    ) -> Result<Option<&'a S>, Refusal> {
        self.optional_input(arg, from, 1)?;
        // SAFETY: as promised; that nothing is written over it is checked with the other places.
        Ok(unsafe { from.as_ref() })
    }

    /// As [`read`](PointerArgs::read), refused where `from` is null.
    ///
    /// # Safety
    /// As for [`read`](PointerArgs::read).
    pub unsafe fn read_needed<'a, S>(
        &mut self,
        arg: &'static str,
        from: *const S,
    ) -> Result<&'a S, Refusal> {
        // SAFETY: as promised.
        unsafe { self.read(arg, from)? }.ok_or(Refusal::Null { arg })
    }

    /// A copy of a plain struct, zeros where `from` is null.
    ///
    /// # Safety
    /// As for [`read`](PointerArgs::read).
    pub unsafe fn read_copied<S: Copy + Default>(
        &mut self,
        arg: &'static str,
        from: *const S,
    ) -> Result<S, Refusal> {
        // SAFETY: as promised.
        Ok(unsafe { self.read(arg, from)? }.copied().unwrap_or_default())
    }

    /// Refuses outputs that overlap another argument.
    pub fn check_apart(&self) -> Result<(), Refusal> {
        let places = &self.places[..self.len];
        for (i, a) in places.iter().enumerate() {
            for b in &places[i + 1..] {
                if (a.written || b.written) && overlap(&a.extent, &b.extent) {
                    return Err(Refusal::Overlap { args: [a.arg, b.arg] });
                }
            }
        }
        Ok(())
    }
}

/// A pointer that has been checked: not null, aligned, within what can be addressed.
#[derive(Clone, Copy)]
pub(super) struct List<T> {
    data: *const T,
    len: usize,
}

/// A checked pointer to a list that is written.
pub(super) struct ListMut<T> {
    data: *mut T,
    len: usize,
}

impl<T> List<T> {
    /// # Safety
    /// The C caller has promised that the elements can be read for 'a, and nobody writes them.
    pub unsafe fn lend<'a>(self) -> &'a [T] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: not null, aligned, within what can be addressed, and promised.
        unsafe { slice::from_raw_parts(self.data, self.len) }
    }
}

impl List<bool> {
    /// As [`List::lend`], refused where a byte is neither 0 nor 1, which is no `bool`.
    ///
    /// # Safety
    /// As for [`List::lend`].
    pub unsafe fn lend_flags<'a>(self, arg: &'static str) -> Result<&'a [bool], Refusal> {
        let bytes = List { data: self.data.cast::<u8>(), len: self.len };
        // SAFETY: a `bool` is a byte.
        let bytes: &[u8] = unsafe { bytes.lend() };
        // The whole list is checked at once, which takes no time beside its rows.
        if bytes.iter().fold(0, |all, byte| all | byte) > 1 {
            let at = bytes.iter().position(|&byte| byte > 1).unwrap_or(0);
            return Err(Refusal::Flag { arg, at, got: bytes[at] });
        }
        // SAFETY: all bytes are 0 or 1.
        Ok(unsafe { self.lend() })
    }
}

impl<T> ListMut<T> {
    /// # Safety
    /// The C caller has promised that the elements can be read and written for 'a, and nobody else does; that
    /// nothing else of this call overlaps them has been checked.
    pub unsafe fn lend<'a>(self) -> &'a mut [T] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: as for what is read.
        unsafe { slice::from_raw_parts_mut(self.data, self.len) }
    }
}

/// The pointer for one result, if it is wanted.
pub(super) struct Written<T>(*mut T);

impl<T> Written<T> {
    /// Refused where the pointer is misaligned.
    pub fn new(arg: &'static str, to: *mut T) -> Result<Self, Refusal> {
        if to.is_null() || to.is_aligned() {
            Ok(Written(to))
        } else {
            Err(Refusal::Misaligned { arg, align: align_of::<T>() })
        }
    }

    /// Refused where the pointer is null, too.
    pub fn needed(arg: &'static str, to: *mut T) -> Result<Self, Refusal> {
        if to.is_null() { Err(Refusal::Null { arg }) } else { Written::new(arg, to) }
    }

    /// # Safety
    /// Unless the pointer was null, what it points at can be written.
    pub unsafe fn put(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: aligned, and promised.
            unsafe { self.0.write(value) };
        }
    }
}
