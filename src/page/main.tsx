import './style.css';
import { render } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { CreateStream } from './create-stream.tsx';
import { DialogHost } from './dialogs.tsx';
import { cluster, streams, verdict, watch } from './feed.ts';
import { ConnectionBanner, Top } from './frame.tsx';
import { Overview } from './overview.tsx';
import { route } from './route.ts';
import { wanted } from './session.ts';
import { StreamPage } from './stream-page.tsx';
import { TokenForm } from './token-form.tsx';

function App() {
  return (
    <>
      <a class="skip" href="#main" onClick={focusMain}>
        Skip to the content
      </a>
      <Top />
      <ConnectionBanner />
      <main id="main" tabIndex={-1}>
        <Shown />
      </main>
      <DialogHost />
    </>
  );
}

/** The hash is the page's own: following the link must not change it. */
function focusMain(event: Event): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}

function Shown() {
  const shown = route.value;
  const at = shown.kind === 'stream' ? `stream ${shown.name}` : shown.kind;
  const before = useRef(at);
  useLayoutEffect(() => {
    if (before.current === at) return;
    before.current = at;
    document.getElementById('main')?.focus({ preventScroll: true });
    scrollTo({ top: 0 });
  }, [at]);
  useTitle(shown.kind === 'stream' ? shown.name : null);
  if (wanted.value !== 'no') return <TokenForm />;
  if (cluster.value === null) return <p class="quiet">Asking this sidecar how the cluster is …</p>;
  if (shown.kind === 'new') return <CreateStream />;
  if (shown.kind === 'stream') {
    const stream = streams.value.find(({ name }) => name === shown.name);
    return <StreamPage key={shown.name} name={shown.name} stream={stream ?? null} query={shown.query} />;
  }
  return <Overview />;
}

/** The tab says how things are, also while another one is looked at. */
function useTitle(stream: string | null): void {
  const now = verdict.value;
  const mark = now === null ? '' : now.kind === 'well' || now.kind === 'empty' ? '✓ ' : '! ';
  const title = `${mark}${stream ?? now?.headline ?? 'Status'} · Spoor`;
  useEffect(() => {
    document.title = title;
  }, [title]);
}

watch();
const root = document.getElementById('page')!;
root.replaceChildren();
render(<App />, root);
