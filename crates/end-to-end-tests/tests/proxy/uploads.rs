//! Bodies that a page sends in pieces to a sidecar without a port, in a real webview.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{launch_calling, run};

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn streams_files_and_forms_arrive_unchanged() -> Result<()> {
    let app = launch_calling().await?;
    let answered = run(
        app.page(),
        "const length = 9_000_001;
        const bytes = new Uint8Array(length).map((_, at) => at % 251);
        const post = (path, body) => sidecar.fetch(path, { method: 'POST', body });
        const echoed = async (body) =>
            isComplete(new Uint8Array(await (await post('/echo', body)).arrayBuffer()), length);
        const stream = (from = 0) => new ReadableStream({
            pull(controller) {
                if (from === length) return controller.close();
                controller.enqueue(bytes.slice(from, from += Math.min(100_000, length - from)));
            },
        });
        const form = new FormData();
        form.set('field', 'value');
        form.set('file', new File([bytes], 'bytes.bin'));
        const parts = await (await post('/echo', form)).text();
        return {
            stream: await echoed(stream()),
            file: await echoed(new File([bytes], 'bytes.bin')),
            sunk: await (await post('/sink', stream())).text(),
            form: parts.includes('name=\"field\"\\r\\n\\r\\nvalue') && parts.includes('bytes.bin') && parts.length > length / 2,
        };",
    )
    .await?;
    assert_eq!(answered, json!({ "stream": true, "file": true, "sunk": "9000001", "form": true }));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_stream_waits_for_the_sidecar_which_may_answer_before_its_end() -> Result<()> {
    let app = launch_calling().await?;
    let answered = run(
        app.page(),
        "const piece = new Uint8Array(500_000);
        let pulled = 0;
        let cancelled;
        const end = new Promise((resolve) => { cancelled = resolve; });
        const body = new ReadableStream({
            pull(controller) {
                pulled += 1;
                controller.enqueue(piece);
            },
            cancel: () => cancelled(true),
        });
        const answer = sidecar.fetch('/refuse/early', { method: 'POST', body });
        // The sidecar has got the first bytes, and reads no more. Another upload passes meanwhile, which gives the page enough time.
        await text('/begun/early');
        for (let at = 0; at < 10; at += 1) {
            await text('/sink', { method: 'POST', body: new Blob([new Uint8Array(10_000_000)]) });
        }
        const before = pulled;
        await text('/emit/refuse', { method: 'POST', body: 'refuse' });
        const { status } = await answer;
        return { before, status, text: await (await answer).text(), cancelled: await end };",
    )
    .await?;
    let before = answered["before"].as_u64().context("no number")?;
    // 10 megabytes: some pieces in page and app, and the buffers of the connection.
    assert!(before < 20, "the page produced {before} pieces that the sidecar did not read");
    assert_eq!(answered["status"], 413);
    assert_eq!((&answered["text"], &answered["cancelled"]), (&json!("too large"), &json!(true)));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn an_abort_and_an_error_of_the_stream_break_the_body_off() -> Result<()> {
    let app = launch_calling().await?;
    let answered = run(
        app.page(),
        "const post = async (name, end) => {
            const abort = new AbortController();
            let control;
            const body = new ReadableStream({ start(controller) { control = controller; } });
            control.enqueue(new Uint8Array(1000));
            const answer = sidecar.fetch(`/swallow/${name}`, { method: 'POST', body, signal: abort.signal });
            await text(`/begun/${name}`);
            end(control, abort);
            const error = await answer.catch((error) => error);
            await text(`/dropped/${name}`);
            return error.name ?? error;
        };
        return [
            await post('broken', (control) => control.error(new Error('broken'))),
            await post('aborted', (_, abort) => abort.abort('aborted')),
        ];",
    )
    .await?;
    assert_eq!(answered, json!(["TypeError", "aborted"]));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn data_of_a_frame_is_sent_like_that_of_the_page() -> Result<()> {
    let app = launch_calling().await?;
    let answered = run(
        app.page(),
        "const frame = document.body.appendChild(document.createElement('iframe')).contentWindow;
        if (new frame.Blob() instanceof Blob) return 'the frame has the types of the page';
        const post = (body) => text('/echo', { method: 'POST', body });
        const form = new frame.FormData();
        form.append('file', new frame.File(['of a form'], 'name'));
        const chunk = new frame.Uint8Array([115, 116]);
        const stream = (type) => new type({ start(controller) { controller.enqueue(chunk); controller.close(); } });
        const { socket, entries, until } = connect('/socket/frame');
        await until('open');
        socket.send(new frame.Blob(['blob']));
        socket.send(new frame.Uint8Array([1, 2]).buffer);
        socket.send('last');
        await until('last');
        return {
            large: (await post(new frame.Blob(['x'.repeat(1_100_000)]))).length,
            small: await post(new frame.Blob(['small'])),
            form: (await post(form)).includes('of a form'),
            streams: await Promise.all([stream(frame.ReadableStream), stream(ReadableStream)].map(post)),
            messages: entries.slice(2, 4).map((bytes) => [...new Uint8Array(bytes)]),
        };",
    )
    .await?;
    let expected = json!({
        "large": 1_100_000,
        "small": "small",
        "form": true,
        "streams": ["st", "st"],
        "messages": [[98, 108, 111, 98], [1, 2]],
    });
    assert_eq!(answered, expected);
    Ok(())
}
