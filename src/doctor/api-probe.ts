import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import * as z from 'zod';
import { eachPart } from '../api/parts.ts';
import { readiness } from '../api/shapes.ts';
import type { ClientConfig } from '../config/client-config.ts';
import { asError } from '../util/as-error.ts';
import { formatHostPort, isLoopbackHost, isWildcardHost, type HostPort } from '../util/host-port.ts';
import { TimeLimit } from '../util/time-limit.ts';
import { TlsFetch } from '../util/tls-fetch.ts';
import type { ClockReading } from './clocks.ts';
import type { Probe } from './examine.ts';
import { fault, faultBy, faultsOr, ok, unknown, type Finding } from './finding.ts';

const CONNECT_WITHIN_MS = 2_000;
const FREE_IT =
  'Stop what listens there, or give the sidecar another SPOOR_HTTP_LISTEN. Where it is a sidecar with TLS, look at SPOOR_HTTP_TLS_*.';

const health = z.object({ status: z.literal('ok'), version: z.string() });

/** What listens where the sidecar is to listen. */
export type Listener =
  | { readonly kind: 'nobody' }
  /** Why it is not taken for a sidecar. */
  | { readonly kind: 'other'; readonly why: string }
  /** The parts of it that cannot work, each with its reason; null where it does not say. */
  | { readonly kind: 'sidecar'; readonly version: string; readonly troubles: ReadonlyMap<string, string> | null };

export function judgeListener(address: string, isOurs: boolean, listener: Listener): readonly Finding[] {
  if (!isOurs)
    return [
      fault(
        'api',
        `SPOOR_HTTP_LISTEN ${address} is no address of this machine`,
        'Give one that it has (ip address), a loopback address, or 0.0.0.0 for all of them.',
      ),
    ];
  if (listener.kind === 'nobody') return [ok('api', `${address} is free; no sidecar runs there`)];
  if (listener.kind === 'other')
    return [fault('api', `${address} is taken by something that is no Spoor: ${listener.why}`, FREE_IT)];
  const { version, troubles } = listener;
  const name = `the sidecar at ${address} (${version})`;
  if (troubles === null) return [unknown('api', `${name} runs; what it cannot do it tells who has SPOOR_HTTP_TOKEN`)];
  const faults = [...troubles].map(([part, reason]) =>
    faultBy(
      'api',
      `${name} cannot work with ${part}: ${reason}`,
      'It tries again by itself; what is found beside this says more.',
    ),
  );
  return faultsOr(faults, ok('api', `${name} runs, and is ready`));
}

/** @param client how the API is asked; null where its configuration is wrong */
export function apiProbe(listen: HostPort | null, client: ClientConfig | null): Probe {
  return {
    check: 'api',
    look: async (signal) => {
      if (listen === null || client === null) return [unknown('api', 'looked at once SPOOR_HTTP_* is right')];
      const address = formatHostPort(listen);
      const isFound = await accepts(listen, signal);
      const listener: Listener = isFound ? await identify(client, signal) : { kind: 'nobody' };
      return judgeListener(address, isOwnAddress(listen.host), listener);
    },
  };
}

/** What time it is by a sidecar's own clock, which an answer of HTTP tells to the second. @throws it does not answer */
export async function readSidecarClock(
  url: string,
  now: () => number,
  signal: AbortSignal,
): Promise<readonly ClockReading[]> {
  const askedAtMs = now();
  const answer = await fetch(new URL('healthz', url.endsWith('/') ? url : `${url}/`), { signal });
  const date = Date.parse(answer.headers.get('date') ?? '');
  await answer.arrayBuffer();
  return Number.isNaN(date)
    ? []
    : [{ of: `the sidecar ${url}`, theirMs: date, askedAtMs: askedAtMs - 1000, answeredAtMs: now() }];
}

async function identify({ url, token, tls }: ClientConfig, signal: AbortSignal): Promise<Listener> {
  using client = new TlsFetch(tls);
  const get = async (path: string) => {
    const target = new URL(path, url.endsWith('/') ? url : `${url}/`);
    const headers = { accept: 'application/json', ...(token !== null && { authorization: `Bearer ${token}` }) };
    return target.protocol === 'https:'
      ? client.fetch(target, { headers, signal })
      : fetch(target, { headers, signal });
  };
  try {
    const answer = await get('healthz');
    const parsed = health.safeParse(JSON.parse(await answer.text()));
    if (!parsed.success) return { kind: 'other', why: `it answers ${answer.status} to GET /healthz` };
    const parts = readiness.safeParse(JSON.parse(await (await get('readyz')).text()));
    return { kind: 'sidecar', version: parsed.data.version, troubles: parts.success ? troublesOf(parts.data) : null };
  } catch (error) {
    signal.throwIfAborted();
    const { message, cause } = asError(error);
    return { kind: 'other', why: cause instanceof Error && cause.message !== '' ? cause.message : message };
  }
}

/** Null where there are some, and their reasons are not for us. */
function troublesOf({ ready: _, ...parts }: z.output<typeof readiness>): ReadonlyMap<string, string> | null {
  const failing = eachPart(parts).filter(([, { ok: isOk }]) => !isOk);
  if (failing.some(([, { reason }]) => reason === undefined)) return null;
  return new Map(failing.map(([part, { reason }]) => [part, reason ?? '']));
}

function isOwnAddress(host: string): boolean {
  if (isLoopbackHost(host) || isWildcardHost(host) || !/^[\d.]+$|:/.test(host)) return true;
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === host));
}

/** Whether something accepts connections there. */
async function accepts({ host, port }: HostPort, signal: AbortSignal): Promise<boolean> {
  using limit = new TimeLimit(signal, CONNECT_WITHIN_MS);
  const socket = connect({ host: isWildcardHost(host) ? '127.0.0.1' : host, port, signal: limit.signal });
  return await new Promise((resolve) => {
    socket.once('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
