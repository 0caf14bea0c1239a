//! What a client of the control socket reads about the usage of a sidecar.

use integration_tests::run;
use rustix::process::Signal;

use crate::{
    control::User,
    control_clients::{answer, connect},
};

#[test]
fn a_client_reads_what_the_sidecar_uses() {
    run(async {
        let user = User::new();
        let (app, _sidecar) = user.app("--name shop", "term exit 0").await;
        let socket = user.found()[0].clone();
        for sidecar in [r#","sidecar":"shop""#, ""] {
            let request = format!(r#"{{"request":"usage"{sidecar},"intervalMs":1}}"#);
            let mut client = connect(&socket, &request).await;
            let (first, second) = (answer(&mut client).await, answer(&mut client).await);
            assert_eq!(first["answer"], "usage");
            assert_eq!(
                (&first["usage"]["sidecar"], &first["usage"]["processes"]),
                (&"shop".into(), &1.into())
            );
            assert!(first["usage"]["memory"].as_u64().unwrap() > 0, "{first}");
            assert!(second["usage"]["cpuPercent"].is_number(), "{second}");
        }
        let unknown = answer(&mut connect(&socket, r#"{"request":"usage","sidecar":"other"}"#).await).await;
        assert_eq!(unknown["kind"], "unknownSidecar");
        app.signal(Signal::TERM);
        app.end().await;
    });
}
