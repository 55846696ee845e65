import { SinkError } from '../sink.ts';
import { type Address, formatAddress } from './connections.ts';

export interface BrokerAddress {
  readonly nodeId: number;
  readonly address: Address;
  /** Who gave that address, by its own; null: whoever configured us. */
  readonly toldBy: Address | null;
}

/** A connection to a broker was not made, or broke, or fell silent: which broker, and where its address is from. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';

  constructor({ nodeId, address, toldBy }: BrokerAddress, cause: Error) {
    const source =
      toldBy && `, the address that ${formatAddress(toldBy)} gives of it: look at its advertised.listeners`;
    super(`broker ${nodeId} at ${formatAddress(address)}${source ?? ''}`, { cause });
  }
}

/** What is no broker's answer, nobody's own wish and no fault of the request is one of the connection. */
export function isOfConnection(error: unknown): error is Error {
  return (
    error instanceof Error &&
    !(error instanceof SinkError) &&
    error.name !== 'AbortError' &&
    error.name !== 'TimeoutError'
  );
}
