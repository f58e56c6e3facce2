//! A set of numbers below 2^24: a tree of 64-way branches over words of 64 bits, in which parts that are all in or
//! all out take no memory and no time.

use std::ops::Range;

/// 64 x 64 x 64 x 64 numbers.
pub(super) type Bitmap = Branch<Branch<Branch<u64>>>;

/// A set of the numbers below `SPAN`. Numbers given to it must be less than that.
pub(super) trait Block: Sized {
    /// How many numbers it is about.
    const SPAN: u32;
    /// None of them.
    const EMPTY: Self;
    /// All of them.
    const FULL: Self;

    fn is_empty(&self) -> bool;
    fn is_full(&self) -> bool;
    fn contains(&self, number: u32) -> bool;
    /// Whether the number was not there.
    fn insert(&mut self, number: u32) -> bool;
    /// Whether the number was there.
    fn remove(&mut self, number: u32) -> bool;
    fn insert_range(&mut self, range: Range<u32>);
    /// The lowest number from `from` on that is not there. Looks at two blocks of a level at most: the one that
    /// `from` is in, and the next that is not full.
    fn first_absent(&self, from: u32) -> Option<u32>;
    /// Memory on the heap, in bytes.
    #[cfg(test)]
    fn heap_bytes(&self) -> usize;
}

impl Block for u64 {
    const SPAN: u32 = u64::BITS;
    const EMPTY: Self = 0;
    const FULL: Self = u64::MAX;

    fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    fn is_full(&self) -> bool {
        *self == Self::FULL
    }

    fn contains(&self, number: u32) -> bool {
        self & (1 << number) != 0
    }

    fn insert(&mut self, number: u32) -> bool {
        let absent = !self.contains(number);
        *self |= 1 << number;
        absent
    }

    fn remove(&mut self, number: u32) -> bool {
        let present = self.contains(number);
        *self &= !(1 << number);
        present
    }

    fn insert_range(&mut self, range: Range<u32>) {
        *self |= bits(range);
    }

    fn first_absent(&self, from: u32) -> Option<u32> {
        #[cfg(test)]
        visits::count();
        lowest(!self & bits(from..Self::SPAN))
    }

    #[cfg(test)]
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// 64 blocks, of which only those that are neither empty nor full exist.
#[derive(Debug, Clone)]
pub(super) struct Branch<B> {
    /// Bit n: child n is full.
    full: u64,
    /// Bit n: child n is neither empty nor full, and is in `children`.
    mixed: u64,
    /// In the order of their bits in `mixed`.
    children: Vec<B>,
}

impl<B: Block> Branch<B> {
    /// Where child `index` is, or would be, in `children`.
    fn position(&self, index: u32) -> usize {
        (self.mixed & bits(0..index)).count_ones() as usize
    }

    fn mixed_child(&self, index: u32) -> Option<&B> {
        if self.mixed.contains(index) { self.children.get(self.position(index)) } else { None }
    }

    /// Changes child `index`, which exists only while it is neither empty nor full.
    fn change<R>(&mut self, index: u32, change: impl FnOnce(&mut B) -> R) -> R {
        let position = self.position(index);
        let mut made = None;
        let child = match self.children.get_mut(position) {
            Some(child) if self.mixed.contains(index) => child,
            _ => made.insert(if self.full.contains(index) { B::FULL } else { B::EMPTY }),
        };
        let result = change(child);
        let (empty, full) = (child.is_empty(), child.is_full());
        self.full.remove(index);
        if full {
            self.full.insert(index);
        }
        match made {
            Some(child) if !empty && !full => self.adopt(index, position, child),
            None if empty || full => self.drop_child(index, position),
            _ => {}
        }
        result
    }

    /// Room grows by a quarter, not to the double: most branches of a busy Network have a few dozen children.
    fn adopt(&mut self, index: u32, position: usize, child: B) {
        let count = self.children.len();
        if count == self.children.capacity() {
            self.children.reserve_exact(1 + count / 4);
        }
        self.children.insert(position, child);
        self.mixed.insert(index);
    }

    fn drop_child(&mut self, index: u32, position: usize) {
        self.children.remove(position);
        self.mixed.remove(index);
        if self.children.capacity() > 2 * self.children.len() {
            self.children.shrink_to_fit();
        }
    }
}

impl<B: Block> Block for Branch<B> {
    const SPAN: u32 = u64::BITS * B::SPAN;
    const EMPTY: Self = Self { full: u64::EMPTY, mixed: u64::EMPTY, children: Vec::new() };
    const FULL: Self = Self { full: u64::FULL, mixed: u64::EMPTY, children: Vec::new() };

    fn is_empty(&self) -> bool {
        self.full.is_empty() && self.mixed.is_empty()
    }

    fn is_full(&self) -> bool {
        self.full.is_full()
    }

    fn contains(&self, number: u32) -> bool {
        let index = number / B::SPAN;
        match self.mixed_child(index) {
            Some(child) => child.contains(number % B::SPAN),
            None => self.full.contains(index),
        }
    }

    fn insert(&mut self, number: u32) -> bool {
        let index = number / B::SPAN;
        !self.full.contains(index) && self.change(index, |child| child.insert(number % B::SPAN))
    }

    fn remove(&mut self, number: u32) -> bool {
        let index = number / B::SPAN;
        let present = self.full.contains(index) || self.mixed.contains(index);
        present && self.change(index, |child| child.remove(number % B::SPAN))
    }

    fn insert_range(&mut self, range: Range<u32>) {
        let mut start = range.start;
        while start < range.end {
            let index = start / B::SPAN;
            let base = index * B::SPAN;
            let end = range.end.min(base + B::SPAN);
            self.change(index, |child| {
                if end - start == B::SPAN {
                    *child = B::FULL;
                } else {
                    child.insert_range(start - base..end - base);
                }
            });
            start = end;
        }
    }

    fn first_absent(&self, from: u32) -> Option<u32> {
        #[cfg(test)]
        visits::count();
        let index = from / B::SPAN;
        let here = match self.mixed_child(index) {
            Some(child) => child.first_absent(from % B::SPAN),
            None if self.full.contains(index) => None,
            None => Some(from % B::SPAN),
        };
        if let Some(number) = here {
            return Some(index * B::SPAN + number);
        }
        let index = lowest(!self.full & bits(index + 1..u64::BITS))?;
        let number = self.mixed_child(index).map_or(Some(0), |child| child.first_absent(0))?;
        Some(index * B::SPAN + number)
    }

    #[cfg(test)]
    fn heap_bytes(&self) -> usize {
        self.children.capacity() * size_of::<B>() + self.children.iter().map(Block::heap_bytes).sum::<usize>()
    }
}

/// A word with these bits set.
fn bits(range: Range<u32>) -> u64 {
    let below = |end: u32| 1u64.checked_shl(end).map_or(u64::MAX, |bit| bit - 1);
    below(range.end) & !below(range.start)
}

fn lowest(word: u64) -> Option<u32> {
    if word == 0 { None } else { Some(word.trailing_zeros()) }
}

/// Counts the blocks that `first_absent` looks at, to show that fill does not matter.
#[cfg(test)]
pub(super) mod visits {
    use std::cell::Cell;

    thread_local!(static VISITS: Cell<u32> = const { Cell::new(0) });

    pub(super) fn count() {
        VISITS.set(VISITS.get() + 1);
    }

    /// How many blocks were looked at since the last call.
    pub(in super::super) fn take() -> u32 {
        VISITS.replace(0)
    }
}
