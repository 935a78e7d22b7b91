//! Reads from and writes to pointers of C. Except for callbacks, all unsafe code is here.

use std::{
    ffi::{CStr, c_char},
    ptr, slice,
};

use super::status::{Failure, SYNCSWIM_ERR_NULL, SYNCSWIM_ERR_TEXT};

fn not_null<T>(pointer: *const T, what: &str) -> Result<(), Failure> {
    match pointer.is_null() {
        true => Err(Failure::new(SYNCSWIM_ERR_NULL, format!("`{what}` is NULL"))),
        false => Ok(()),
    }
}

/// A text that ends with NUL.
///
/// # Safety
/// `pointer` is NULL or points to a text that ends with NUL and does not change during `'a`.
pub(super) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str, Failure> {
    not_null(pointer, what)?;
    // SAFETY: not null, and the caller vouches for the rest.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| Failure::new(SYNCSWIM_ERR_TEXT, format!("`{what}` is not UTF-8")))
}

/// An array of such texts. It may be NULL if it has no elements.
///
/// # Safety
/// `pointer` is NULL or points to `count` pointers, each as for [`text`].
pub(super) unsafe fn texts<'a>(
    pointer: *const *const c_char,
    count: usize,
    what: &str,
) -> Result<Vec<&'a str>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    not_null(pointer, what)?;
    // SAFETY: not null, and the caller vouches for the count and the elements.
    let pointers = unsafe { slice::from_raw_parts(pointer, count) };
    // SAFETY: as above, for each element.
    pointers.iter().map(|pointer| unsafe { text(*pointer, what) }).collect()
}

/// Bytes. They may be NULL if there are none.
///
/// # Safety
/// `pointer` is NULL or points to `length` bytes that do not change during `'a`.
pub(super) unsafe fn bytes<'a>(pointer: *const u8, length: usize, what: &str) -> Result<&'a [u8], Failure> {
    if length == 0 {
        return Ok(&[]);
    }
    not_null(pointer, what)?;
    // SAFETY: not null, and the caller vouches for the length.
    Ok(unsafe { slice::from_raw_parts(pointer, length) })
}

/// Memory of the caller for a text. It may be NULL if its size is 0.
pub(super) struct Buffer {
    start: *mut c_char,
    size: usize,
}

impl Buffer {
    /// # Safety
    /// `start` is NULL or points to `size` bytes that may be written to for as long as this lives.
    pub(super) unsafe fn new(start: *mut c_char, size: usize, what: &str) -> Result<Self, Failure> {
        if size > 0 {
            not_null(start, what)?;
        }
        Ok(Self { start, size })
    }

    /// Writes the text with a NUL behind it. Returns false, and writes nothing, if it does not fit.
    pub(super) fn put(self, text: &CStr) -> bool {
        let bytes = text.to_bytes_with_nul();
        let fits = bytes.len() <= self.size;
        if fits {
            // SAFETY: there is room, so `start` is not null; the code that made the buffer vouched for the rest. `text`
            // lies elsewhere: it is borrowed, and may not be written to.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), self.start, bytes.len()) };
        }
        fits
    }
}

/// The caller's memory for a result. It is checked before any work is done, so that no result is lost.
pub(super) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `pointer` is NULL or may be written to for as long as this lives.
    pub(super) unsafe fn new(pointer: *mut T, what: &str) -> Result<Self, Failure> {
        not_null(pointer, what)?;
        Ok(Self(pointer))
    }

    pub(super) fn put(self, value: T) {
        // SAFETY: not null, and the code that made this `Out` vouched for the rest.
        unsafe { self.0.write(value) }
    }
}
