//! A table whose index is an id of its own type, so that a router's id cannot index pools.

use std::marker::PhantomData;

use types::router::RouterId;

/// An index into a [`Table`].
pub(crate) trait Id: Copy {
    fn place(self) -> usize;
}

impl Id for RouterId {
    fn place(self) -> usize {
        usize::from(self.0)
    }
}

/// At most 65,536 values by their ids, from 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table<I, T>(Vec<T>, PhantomData<I>);

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Self(Vec::new(), PhantomData)
    }
}

impl<I: Id, T> Table<I, T> {
    #[inline]
    pub(crate) fn get(&self, id: I) -> Option<&T> {
        self.0.get(id.place())
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.0.get_mut(id.place())
    }

    /// The value of an id; the table grows up to it.
    #[inline]
    pub(crate) fn get_or_grow(&mut self, id: I) -> &mut T
    where
        T: Default,
    {
        let place = id.place();
        if place >= self.0.len() {
            self.0.resize_with(place + 1, T::default);
        }
        &mut self.0[place]
    }

    pub(crate) fn values(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<I, T> FromIterator<T> for Table<I, T> {
    fn from_iter<V: IntoIterator<Item = T>>(values: V) -> Self {
        Self(values.into_iter().collect(), PhantomData)
    }
}

impl<I, T> IntoIterator for Table<I, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
