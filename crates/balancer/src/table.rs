//! A table whose index is an id of its own type, so that a router's id cannot index pools.

use std::marker::PhantomData;

use types::router::{PoolId, RouterId};

/// An index into a [`Table`].
pub(crate) trait Id: Copy {
    fn new(place: u16) -> Self;
    fn place(self) -> usize;
}

impl Id for RouterId {
    fn new(place: u16) -> Self {
        Self(place)
    }

    fn place(self) -> usize {
        usize::from(self.0)
    }
}

impl Id for PoolId {
    fn new(place: u16) -> Self {
        Self(place)
    }

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

    /// The value of an id, and those of larger ids.
    pub(crate) fn get_mut_and_later<'t>(&'t mut self, id: I) -> Option<(&'t mut T, impl Fn(I) -> Option<&'t T>)> {
        let (up_to_it, later) = self.0.split_at_mut_checked(id.place() + 1)?;
        let later: &[T] = later;
        let begin = up_to_it.len();
        Some((up_to_it.last_mut()?, move |id: I| later.get(id.place().checked_sub(begin)?)))
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

    /// Makes room for so many more, as far as there are ids. What grows step by step leaves as much memory behind as it has.
    pub(crate) fn reserve(&mut self, more: usize) {
        let most = usize::from(u16::MAX) + 1;
        self.0.reserve_exact(more.min(most.saturating_sub(self.0.len())));
    }

    /// The id of the added value; `None` if the table is full.
    pub(crate) fn push(&mut self, value: T) -> Option<I> {
        let id = I::new(u16::try_from(self.0.len()).ok()?);
        self.0.push(value);
        Some(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = I> + use<I, T> {
        (0..self.0.len()).filter_map(|place| u16::try_from(place).ok()).map(I::new)
    }

    pub(crate) fn values(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(crate) fn values_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        self.ids().zip(&self.0)
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        &self.0
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
