//! What it costs to prove that a token is used for the first time: a million tokens through the memory of one process.
//!
//! `cargo bench --bench replay`; divide by a million for the time of one token.

use crosslink::link::{FirstUse, TokenId};
use crosslink::replay::UsedTokens;
use crosslink::settings::{Replay, TokenStore, Unproven};
use futures_util::FutureExt;

fn main() {
    divan::main();
}

/// An empty memory fills up to its bound.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn million_first_uses(bencher: divan::Bencher<'_, '_>) {
    bencher.counter(TOKENS).with_inputs(memory).bench_values(|memory| {
        assert_eq!(admitted(&memory, 0), TOKENS);
        memory
    });
}

/// All of them come a second time.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn million_second_uses(bencher: divan::Bencher<'_, '_>) {
    let used = || {
        let memory = memory();
        admitted(&memory, 0);
        memory
    };
    bencher.counter(TOKENS).with_inputs(used).bench_values(|memory| {
        assert_eq!(admitted(&memory, 0), 0);
        memory
    });
}

/// New ones come when the old ones are over: each forgets one and takes its place.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn million_after_a_million(bencher: divan::Bencher<'_, '_>) {
    let over = || {
        let memory = memory();
        admitted(&memory, 0);
        memory
    };
    bencher.counter(TOKENS).with_inputs(over).bench_values(|memory| {
        assert_eq!(admitted(&memory, LATER), TOKENS);
        memory
    });
}

fn memory() -> UsedTokens {
    let store = TokenStore::Memory { entries: usize::try_from(TOKENS).unwrap_or(usize::MAX) };
    UsedTokens::new(Replay { store, unproven: Unproven::Refuse })
}

/// How many of a million tokens are on their first use.
fn admitted(memory: &UsedTokens, now: u64) -> u32 {
    let is_first = |number: u32| {
        // Ids of tokens are random; an odd factor spreads them as well.
        let id =
            TokenId((u128::from(number) + u128::from(now)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        memory.admit(FirstUse { id, forget_at: now + 150 }, now).now_or_never() == Some(Ok(()))
    };
    (0..TOKENS).map(|number| u32::from(is_first(number))).sum()
}

const TOKENS: u32 = 1_000_000;
/// Far enough that all ids differ, and all tokens of before are over.
const LATER: u64 = 10_000_000;
