import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { KuduError, masterError } from './errors.ts';
import type { ConnectToMasterResponsePB, MasterErrorPB } from './proto/master_pb.ts';
import { DEFAULT_MASTER_PORT, formatHostPort, parseHostPort } from './rpc/address.ts';
import { Deadline, pauseBefore } from './rpc/deadline.ts';
import type { Messenger, RpcMethod } from './rpc/messenger.ts';
import { MasterService } from './services.ts';

/** One attempt of a call that may be repeated: a master that hangs must not use up the whole time. */
const ATTEMPT_MS = 5000;
const ROLE_LEADER = 1;
/** Only who has shown more than a token of theirs gets a token of the masters. */
const PRIMARY = 'primary';

/** The masters of a cluster: finds the one that leads, and finds it again when it no longer does. */
export class MasterClient {
  readonly addresses: readonly string[];
  readonly #messenger: Messenger;
  #leader: Promise<string> | null = null;
  #clusterId = '';

  /** @throws {KuduError} `usage` for an empty list, or an address that is none */
  constructor(messenger: Messenger, addresses: readonly string[]) {
    if (addresses.length === 0) throw new KuduError('usage', 'a cluster has at least one master address');
    this.#messenger = messenger;
    messenger.security.renewBy((deadline) => this.#renewToken(deadline));
    this.addresses = addresses.map((address) => formatHostPort(parseHostPort(address, DEFAULT_MASTER_PORT)));
  }

  /** What the cluster is called, whatever its masters' addresses are; empty before a leader has said it. */
  get clusterId(): string {
    return this.#clusterId;
  }

  /**
   * Calls the leader. Repeated, with the leader looked for again, until the deadline: whenever the call was
   * certainly not run, and also after a broken connection or an attempt without answer if `method` is idempotent.
   *
   * @throws {KuduError} `master` for what the catalog answers; `network` or `timeout` when no leader was found, or
   *   when a call that is not idempotent may or may not have run
   */
  async call<I extends DescMessage, O extends DescMessage>(
    method: RpcMethod<I, O>,
    request: MessageInitShape<I>,
    deadline: Deadline,
    requiredFeatures: readonly number[] = [],
  ): Promise<MessageShape<O>> {
    return this.#withLeader(method.name, method.idempotent, deadline, async (leader, attemptDeadline) => {
      const options = { deadline: attemptDeadline, requiredFeatures, use: PRIMARY } as const;
      const { message } = await this.#messenger.call(leader, method, request, options);
      const error = (message as { error?: MasterErrorPB }).error;
      if (error) throw masterError(leader, method.name, error);
      return message;
    });
  }

  /** Resolves when a leader has answered. @throws {KuduError} as {@link call} */
  async connect(deadline: Deadline): Promise<void> {
    await this.#withLeader('ConnectToMaster', true, deadline, () => Promise.resolve());
  }

  async #withLeader<T>(
    what: string,
    idempotent: boolean,
    deadline: Deadline,
    run: (leader: string, deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    let lastError: unknown;
    for (let attempt = 1; ; attempt++) {
      try {
        const leader = await this.#findLeader(deadline);
        return await run(leader, idempotent ? deadline.atMost(ATTEMPT_MS) : deadline);
      } catch (error) {
        if (!(error instanceof KuduError) || !error.retriable) throw error;
        // A refusal because another one leads was no run; other catalog errors are answers.
        if (!idempotent && !error.notRun && !error.notLeader) throw error;
        if (error.notLeader || error.kind !== 'master') this.#leader = null;
        lastError = error.kind === 'timeout' && lastError !== undefined ? lastError : error;
        if (deadline.remainingMs() === 0) throw timedOut(what, lastError);
      }
      await deadline.sleep(pauseBefore(attempt));
    }
  }

  /** The leader's address, found by asking all masters at once. */
  #findLeader(deadline: Deadline): Promise<string> {
    // Shared by the calls that wait for it, so with a time of its own; each waits as long as it itself may.
    this.#leader ??= this.#askAll(Deadline.detached(ATTEMPT_MS)).catch((error: unknown) => {
      this.#leader = null;
      throw error;
    });
    return deadline.race(this.#leader, () => {
      return new KuduError('timeout', `no leader found in time among ${this.addresses.join(', ')}`, { notRun: true });
    });
  }

  /** Asks over connections that are new: those in hand may have been made by a token, or long ago as somebody else. */
  async #renewToken(deadline: Deadline): Promise<void> {
    await this.#askAll(deadline, (address) =>
      this.#messenger.callAnew(address, MasterService.connectToMaster, {}, deadline),
    );
  }

  async #connectToMaster(address: string, deadline: Deadline): Promise<ConnectToMasterResponsePB> {
    const { message } = await this.#messenger.call(
      address,
      MasterService.connectToMaster,
      {},
      { deadline, use: PRIMARY },
    );
    return message;
  }

  /** @returns the leader's address, once what it says of the cluster is adopted */
  async #askAll(
    deadline: Deadline,
    ask = (address: string) => this.#connectToMaster(address, deadline),
  ): Promise<string> {
    const failures: string[] = [];
    const asked = this.addresses.map(async (address) => {
      try {
        const message = await ask(address);
        if (message.error) throw masterError(address, 'ConnectToMaster', message.error);
        if (message.role !== ROLE_LEADER) throw new KuduError('network', `${address} does not lead`, { notRun: true });
        this.#clusterId = message.clusterId;
        this.#messenger.security.adopt(message);
        return address;
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
        throw error;
      }
    });
    try {
      return await Promise.any(asked);
    } catch (cause) {
      const errors = cause instanceof AggregateError ? (cause.errors as unknown[]) : [];
      const fatal = errors.find((error): error is KuduError => error instanceof KuduError && !error.retriable);
      // Being refused by one master is not settled by looking for another.
      if (fatal) throw fatal;
      const message = `no master leads: ${failures.join('; ')}`;
      // Without a ticket nobody could be asked: that is what a person has to know, not that nobody answers.
      const own = errors.find((error): error is KuduError => KuduError.is(error, 'security'));
      const code = own?.code ?? null;
      throw new KuduError(own ? 'security' : 'network', message, {
        ...(code !== null && { code }),
        notRun: true,
        cause,
      });
    }
  }
}

function timedOut(method: string, last: unknown): KuduError {
  const message = last instanceof Error ? last.message : String(last);
  return new KuduError('timeout', `${method}: out of time; last: ${message}`, {
    notRun: last instanceof KuduError && last.notRun,
    cause: last,
  });
}
