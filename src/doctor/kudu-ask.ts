import { KuduClient } from '../kudu/client.ts';
import { KuduError } from '../kudu/errors.ts';
import { formatHostPort } from '../kudu/rpc/address.ts';
import { Deadline } from '../kudu/rpc/deadline.ts';
import { Messenger } from '../kudu/rpc/messenger.ts';
import type { SecurityOptions } from '../kudu/security/options.ts';
import { SecurityContext } from '../kudu/security/security-context.ts';
import { MasterService } from '../kudu/services.ts';
import { TabletServerProxy } from '../kudu/tserver-proxy.ts';
import { isRefusal, refusalOf, securityCode } from '../kudu-side/kudu-refusal.ts';
import { asError } from '../util/as-error.ts';
import { fault, type CheckName, type Finding } from './finding.ts';

const CALL_TIMEOUT_MS = 5_000;

/** What one master says of all. */
export interface MasterWord {
  readonly isLeader: boolean;
  /** All masters of the cluster, `host:port`, as they were told of one another. */
  readonly masters: readonly string[];
  readonly clusterId: string;
}

const ROLE_LEADER = 1;

/** The servers of Kudu, each asked by itself: also where no master leads. And the cluster, where one does. */
export class KuduAsk implements Disposable {
  readonly masters: readonly string[];
  readonly #messenger: Messenger;
  readonly #options: SecurityOptions;
  #client: Promise<KuduClient> | null = null;

  constructor({ masters, ...security }: SecurityOptions & { readonly masters: readonly string[] }) {
    this.masters = masters;
    this.#options = security;
    this.#messenger = new Messenger(new SecurityContext(security));
  }

  /** A server by its address, whether it is a master or a tablet server. */
  server(address: string): TabletServerProxy {
    return new TabletServerProxy(this.#messenger, address, CALL_TIMEOUT_MS);
  }

  /** @throws {KuduError} */
  async wordOf(master: string, signal: AbortSignal): Promise<MasterWord> {
    const deadline = Deadline.from({ signal }, CALL_TIMEOUT_MS);
    const { message } = await this.#messenger.call(
      master,
      MasterService.connectToMaster,
      {},
      { deadline, use: 'primary' },
    );
    return {
      isLeader: message.role === ROLE_LEADER,
      masters: message.masterAddrs.map(formatHostPort),
      clusterId: message.clusterId,
    };
  }

  /** The cluster; asked for by several, connected to once. @throws {KuduError} no master leads, or answers */
  cluster(): Promise<KuduClient> {
    this.#client ??= KuduClient.connect({ ...this.#options, masters: this.masters, timeoutMs: CALL_TIMEOUT_MS });
    return this.#client;
  }

  [Symbol.dispose](): void {
    this.#messenger[Symbol.dispose]();
    void this.#client
      ?.then((client) => {
        client[Symbol.dispose]();
      })
      .catch(() => undefined);
  }
}

/**
 * What Kudu answered no to, or did not answer.
 * @param what was asked: stands before what Kudu said
 * @param otherwise what to do where Kudu's answer does not tell
 */
export function kuduFault(check: CheckName, what: string, error: unknown, otherwise: string): Finding {
  if (!(error instanceof KuduError)) return fault(check, `${what}: ${asError(error).message}`, otherwise);
  const { lastCause } = error;
  const isTold = isRefusal(error) || securityCode(lastCause) !== null;
  return fault(check, `${what}: ${lastCause.message}`, isTold ? refusalOf(error).remedy : otherwise);
}
