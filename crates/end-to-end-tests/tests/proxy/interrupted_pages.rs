//! Pages that the webview leaves and shows again, and pages that stop what they load.

use anyhow::Result;
use rustix::process::Signal;
use serde_json::json;

use super::{at_start::foreign_page, launch_calling, launch_with_csp, open, run, sidecar};

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_page_that_is_shown_again_follows_its_sidecar() -> Result<()> {
    for transport in ["tcp", "local"] {
        let csp = "connect-src ipc: http://ipc.localhost http://127.0.0.1:*";
        let app = launch_with_csp(transport, &["calling"], csp).await?;
        let page = app.page();
        open(page, "calling").await?;
        run(
            page,
            "window.pids = new Set();
            window.changed = () => {};
            window.runs = async (count) => {
                while (pids.size < count) await new Promise((woken) => (changed = woken));
            };
            sidecar.watch(({ state, pid }) => {
                if (state === 'ready') pids.add(pid);
                changed();
            });
            window.live = follow('/events/live');
            await runs(1);
            await live(1);",
        )
        .await?;
        page.navigate(&foreign_page().await?).await?;
        page.back().await?;
        let is_kept = page.execute("return 'pids' in window").await?;
        assert_eq!(is_kept, json!(true), "the webview loads the page again, so that this test shows nothing");
        sidecar(&app)?.signal(Signal::KILL)?;
        let pid = run(page, "await runs(2); return text('/pid')").await?;
        assert_eq!(pid, json!(sidecar(&app)?.pid.to_string()), "{transport}");
        // The stream has opened again: when the page was shown, or after the crash.
        run(page, "await live(2);").await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_stopped_page_sends_no_request_twice() -> Result<()> {
    let app = launch_calling().await?;
    let twice = run(
        app.page(),
        "await text('/pid');
        for (let round = 0; round < 10; round++) {
            const send = (_, at) => text(`/execute/${round}-${at}`, { method: 'POST' }).catch(() => null);
            const sent = Array.from({ length: 100 }, send);
            await sent[0];
            window.stop();
            await Promise.all(sent);
        }
        const executed = await (await sidecar.fetch('/executed')).json();
        return executed.filter((name, at) => executed.indexOf(name) !== at);",
    )
    .await?;
    assert_eq!(twice, json!([]));
    Ok(())
}
