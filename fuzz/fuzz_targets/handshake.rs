//! Logins of strangers: decoders alone, then a whole login over memory. Nobody gets in, nothing panics or hangs.
#![no_main]

use std::cell::OnceCell;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use shardway::internal::login::{Door, Guest, House, Proof, Refused};
use shardway::internal::wire::{AuthSwitch, CapabilityFlags, ChangeUser, FirstPacket, Greeting};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};

const LIMIT: Duration = Duration::from_secs(10);

thread_local! {
    // The door holds an RSA key: a fraction of a second to make.
    static STAGE: OnceCell<(Runtime, Door)> = const { OnceCell::new() };
}

fn stage() -> (Runtime, Door) {
    let guest = |name, proof| Guest { name, proof, databases: None };
    let door = Door::new(House {
        guests: vec![
            guest("plain", Proof::Plain("a password that no input guesses")),
            guest("native", Proof::Native([7; 20])),
            guest("sha2", Proof::Sha2 { rounds: 1000, salt: vec![1; 20], digest: vec![2; 43] }),
        ],
        version: "8.4.6".into(),
        databases: vec!["shop".into()],
        ..House::default()
    });
    (Builder::new_current_thread().enable_all().build().expect("a runtime"), door)
}

fuzz_target!(|bytes: &[u8]| {
    let _first = FirstPacket::decode(bytes);
    let _greeting = Greeting::decode(bytes);
    let _switch = AuthSwitch::decode(bytes);
    let _change = ChangeUser::decode(bytes, CapabilityFlags::all());

    STAGE.with(|cell| {
        let (runtime, door) = cell.get_or_init(stage);
        let ending = runtime.block_on(async {
            let (mut near, far) = duplex(1 << 20);
            let stranger = async {
                let _sent = near.write_all(bytes).await;
                let _ended = near.shutdown().await;
                let mut answer = Vec::new();
                let _read = near.read_to_end(&mut answer).await;
            };
            tokio::join!(stranger, door.log_in(far, LIMIT)).1
        });
        assert!(!matches!(ending, Ok(_) | Err(Refused::Timeout)), "{ending:?}");
    });
});
