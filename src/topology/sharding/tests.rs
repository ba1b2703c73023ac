//! Vectors that can never change, and the properties that keep rows from being missed.

use proptest::prelude::*;

use super::*;

fn text(raw: &str) -> Key {
    Key::Bytes { weights: raw.to_uppercase().into_bytes(), raw: raw.as_bytes().to_vec() }
}

fn points(first: u64, last: u64, shard: u16) -> Placing {
    Placing::Points { first, last, shard: ShardId(shard) }
}

fn keys(from: Option<i128>, to: Option<i128>, shard: u16) -> Placing {
    Placing::Keys { from: from.map(Key::Integer), to: to.map(Key::Integer), shard: ShardId(shard) }
}

fn halves() -> Scheme {
    let placings = vec![points(1 << 63, u64::MAX, 1), points(0, (1 << 63) - 1, 0)];
    Scheme::new("halves", KeyFunction::Xxhash, placings, vec![(Key::Integer(7), ShardId(2))])
}

#[test]
fn xxhash_points_never_change() {
    // The vectors of docs/decisions/0007-key-hash.md.
    let point = |key: &Key| KeyFunction::Xxhash.point(key).unwrap();
    let vectors: [(Key, u64); 7] = [
        (Key::Integer(0), 0xc77b_3abb_6f87_acd9),
        (Key::Integer(1), 0x2fbc_5935_64db_792e),
        (Key::Integer(-1), 0x5111_c7e4_7d78_4413),
        (Key::Integer(4711), 0x7739_d916_21c3_8b0f),
        (Key::Integer(i128::from(u64::MAX)), 0x5111_c7e4_7d78_4413),
        (Key::binary(b""), 0x2d06_8005_38d3_94c2),
        (Key::binary(b"shardway"), 0x4cae_230c_fda8_082b),
    ];
    for (key, expected) in vectors {
        assert_eq!(format!("{:016x}", point(&key)), format!("{expected:016x}"), "{key:?}");
    }
}

#[test]
fn md5_and_crc32_are_those_of_mysql() {
    // SELECT MD5(4711), CRC32(4711), MD5('abc'), CRC32('abc'), MD5(-3), CRC32(-3)
    let md5 = KeyFunction::Md5Mod { buckets: 1 << 16 };
    let crc = KeyFunction::Crc32Mod { buckets: 1 << 32 };
    let vectors = [
        (Key::Integer(4711), 44_895, 3_903_472_759),
        (text("abc"), 0x7f72, 891_568_578),
        (Key::Integer(-3), 13_426, 3_726_846_214),
    ];
    for (key, digest, sum) in vectors {
        assert_eq!((md5.point(&key), crc.point(&key)), (Some(digest), Some(sum)), "{key:?}");
    }
    // All 128 bits count: 570 is MD5('abc') modulo 1000.
    assert_eq!(KeyFunction::Md5Mod { buckets: 1000 }.point(&text("abc")), Some(570));
}

#[test]
fn remainders_of_negative_keys_are_buckets_too() {
    let function = KeyFunction::Mod { buckets: 4 };
    assert_eq!(function.point(&Key::Integer(-1)), Some(3));
    assert_eq!(function.point(&Key::Integer(i128::from(u64::MAX))), Some(3));
    assert_eq!(KeyFunction::Mod { buckets: 0 }.point(&Key::Integer(1)), None);
    assert_eq!(function.point(&text("1")), None);
}

#[test]
fn single_keys_go_before_ranges() {
    assert_eq!(halves().locate(&Key::Integer(7)), Some(ShardId(2)));
    assert_eq!(halves().shards.len(), 3);
}

#[test]
fn equal_texts_share_a_single_key_and_a_point() {
    let scheme = Scheme::new(
        "by_name",
        KeyFunction::Xxhash,
        vec![points(0, u64::MAX, 0)],
        vec![(text("Acme"), ShardId(1))],
    );
    assert_eq!(scheme.locate(&text("ACME")), Some(ShardId(1)));
    assert_eq!(KeyFunction::Xxhash.point(&text("x")), KeyFunction::Xxhash.point(&text("X")));
}

#[test]
fn unowned_keys_have_no_shard() {
    let scheme = Scheme::new(
        "r",
        KeyFunction::Range,
        vec![keys(Some(100), None, 1), keys(Some(0), Some(50), 0)],
        vec![],
    );
    let shard = |key| scheme.locate(&Key::Integer(key));
    assert_eq!(
        [shard(-1), shard(0), shard(49), shard(50), shard(99), shard(100)],
        [None, Some(ShardId(0)), Some(ShardId(0)), None, None, Some(ShardId(1))]
    );
    assert_eq!(scheme.locate(&text("a")), None);
    let list = Scheme::new(
        "l",
        KeyFunction::List,
        vec![Placing::Values { keys: vec![text("fr"), text("de")], shard: ShardId(0) }],
        vec![],
    );
    assert_eq!((list.locate(&text("DE")), list.locate(&text("us"))), (Some(ShardId(0)), None));
}

#[test]
fn intervals_of_ordered_schemes_ask_only_their_owners() {
    let scheme = Scheme::new(
        "r",
        KeyFunction::Range,
        vec![keys(None, Some(100), 0), keys(Some(100), Some(200), 1), keys(Some(200), None, 2)],
        vec![(Key::Integer(1000), ShardId(3))],
    );
    let between = |low: Bound, high: Bound| -> Vec<u16> {
        scheme.locate_between(&low, &high).iter().map(|shard| shard.0).collect()
    };
    let (at, past) = (|n| Bound::Inclusive(Key::Integer(n)), |n| Bound::Exclusive(Key::Integer(n)));
    assert_eq!(between(Bound::Open, past(100)), [0]);
    assert_eq!(between(Bound::Open, at(100)), [0, 1]);
    assert_eq!(between(at(199), Bound::Open), [1, 2, 3]);
    assert_eq!(between(past(199), at(300)), [2]);
    assert_eq!(between(at(5), at(4)), [0; 0]);
    assert_eq!(between(past(5), past(6)), [0; 0]);
    assert_eq!(between(Bound::Open, Bound::Open), [0, 1, 2, 3]);
}

#[test]
fn raw_functions_do_not_promise_one_shard_for_equal_texts() {
    let collation = |binary, pad_space| ColumnType::Text {
        collation: std::sync::Arc::new(crate::topology::Collation {
            name: "c".into(),
            charset: "utf8mb4".into(),
            pad_space,
            ascii: None,
            binary,
        }),
        characters_max: 10,
    };
    let md5 = Scheme::new("m", KeyFunction::Md5Mod { buckets: 4 }, vec![points(0, 3, 0)], vec![]);
    assert!(!md5.equal_keys_share_a_shard(&collation(false, false)));
    assert!(!md5.equal_keys_share_a_shard(&collation(true, true)));
    assert!(md5.equal_keys_share_a_shard(&collation(true, false)));
    assert!(halves().equal_keys_share_a_shard(&collation(false, true)));
}

#[test]
fn columns_that_do_not_fit_the_function_are_named() {
    let range = Scheme::new("r", KeyFunction::Range, vec![keys(None, None, 0)], vec![]);
    let integer = ColumnType::Integer { bits: 64, unsigned: true };
    assert_eq!(range.accepts(&integer), Ok(()));
    assert!(range.accepts(&ColumnType::Temporal).is_err());
    assert!(
        halves().accepts(&ColumnType::Binary { fixed: true, bytes_max: 16 }).unwrap_err().contains("key 7")
    );
}

fn functions() -> impl Strategy<Value = KeyFunction> {
    prop_oneof![
        Just(KeyFunction::Xxhash),
        (1u64..5000).prop_map(|buckets| KeyFunction::Mod { buckets }),
        (1u64..5000).prop_map(|buckets| KeyFunction::Md5Mod { buckets }),
        (1u64..5000).prop_map(|buckets| KeyFunction::Crc32Mod { buckets }),
    ]
}

/// A scheme whose placings cut the whole key space at `cuts`.
fn cut(function: KeyFunction, cuts: &[u64], singles: Vec<(Key, ShardId)>) -> Scheme {
    let end = match &function {
        KeyFunction::Xxhash => u64::MAX,
        KeyFunction::Mod { buckets }
        | KeyFunction::Md5Mod { buckets }
        | KeyFunction::Crc32Mod { buckets } => buckets - 1,
        KeyFunction::Range | KeyFunction::List => unreachable!("no points"),
    };
    let mut begins: Vec<u64> = cuts.iter().map(|cut| cut % end.saturating_add(1).max(1)).chain([0]).collect();
    begins.sort_unstable();
    begins.dedup();
    let lasts = begins.iter().skip(1).map(|begin| begin - 1).chain([end]).collect::<Vec<_>>();
    let placings =
        begins.iter().zip(lasts).enumerate().map(|(n, (first, last))| points(*first, last, n as u16 % 8));
    Scheme::new("cut", function, placings.collect(), singles)
}

fn cut_values(cuts: &[i64], singles: Vec<(Key, ShardId)>) -> Scheme {
    let mut cuts: Vec<i128> = cuts.iter().map(|cut| i128::from(*cut)).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let froms = std::iter::once(None).chain(cuts.iter().copied().map(Some));
    let tos = cuts.iter().copied().map(Some).chain([None]);
    let placings = froms.zip(tos).enumerate().map(|(n, (from, to))| keys(from, to, n as u16 % 8));
    Scheme::new("cut", KeyFunction::Range, placings.collect(), singles)
}

fn bound(of: Option<(i64, bool)>) -> Bound {
    match of {
        None => Bound::Open,
        Some((key, true)) => Bound::Inclusive(Key::Integer(key.into())),
        Some((key, false)) => Bound::Exclusive(Key::Integer(key.into())),
    }
}

fn inside(key: i64, low: Option<(i64, bool)>, high: Option<(i64, bool)>) -> bool {
    low.is_none_or(|(low, closed)| key > low || closed && key == low)
        && high.is_none_or(|(high, closed)| key < high || closed && key == high)
}

proptest! {
    #[test]
    fn every_key_of_a_complete_scheme_has_exactly_one_owner(
        function in functions(), cuts in proptest::collection::vec(any::<u64>(), 0..12), key in any::<i64>()
    ) {
        let scheme = cut(function, &cuts, vec![]);
        let point = scheme.function.point(&Key::Integer(key.into())).unwrap();
        let owners: Vec<_> = scheme.placings.iter().filter(|placing| {
            matches!(placing, Placing::Points { first, last, .. } if (*first..=*last).contains(&point))
        }).collect();
        prop_assert_eq!(owners.len(), 1);
        prop_assert_eq!(scheme.locate(&Key::Integer(key.into())), Some(owners[0].shard()));
    }

    #[test]
    fn intervals_never_miss_the_shard_of_a_key_inside(
        function in functions(), ordered in any::<bool>(),
        cuts in proptest::collection::vec(-60i64..60, 0..8), singles in proptest::collection::vec(-60i64..60, 0..4),
        low in proptest::option::of((-70i64..70, any::<bool>())), high in proptest::option::of((-70i64..70, any::<bool>())),
    ) {
        let singles = singles.into_iter().map(|key| (Key::Integer(key.into()), ShardId(9))).collect();
        let scheme = if ordered { cut_values(&cuts, singles) } else {
            cut(function, &cuts.iter().map(|cut| (*cut as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect::<Vec<_>>(), singles)
        };
        let answer = scheme.locate_between(&bound(low), &bound(high));
        for key in (-75..75).filter(|key| inside(*key, low, high)) {
            let shard = scheme.locate(&Key::Integer(key.into())).unwrap();
            prop_assert!(answer.contains(shard), "key {} on {:?} is not in {:?}", key, shard, answer);
        }
    }
}
