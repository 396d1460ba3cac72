//! A short list without an allocation, for what a header may repeat a few times.

use std::ops::{Deref, DerefMut};

/// Up to `N` values; reads as a slice.
#[derive(Clone, Copy)]
pub(crate) struct List<T, const N: usize> {
    /// At most `N`.
    count: u8,
    /// Beyond `count`: defaults, never seen.
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// Adds one value, or gives `None` when the list is full.
    pub(crate) fn push(&mut self, value: T) -> Option<()> {
        *self.items.get_mut(usize::from(self.count))? = value;
        self.count += 1;
        Some(())
    }
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        const { assert!(N <= u8::MAX as usize) };
        Self { count: 0, items: [T::default(); N] }
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..usize::from(self.count)]
    }
}

impl<T, const N: usize> DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..usize::from(self.count)]
    }
}

impl<T: PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for List<T, N> {}

impl<T: std::fmt::Debug, const N: usize> std::fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_means_none() {
        let mut list = List::<u8, 2>::default();
        assert_eq!(list.push(7), Some(()));
        assert_eq!(list.push(8), Some(()));
        assert_eq!(list.push(9), None);
        assert_eq!(*list, [7, 8]);
    }
}
