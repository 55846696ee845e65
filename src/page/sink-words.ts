import type { StreamState } from '../api/cluster-state.ts';

/** Where the records of a stream go, in a few words. */
export function destinationOf({ sink }: Pick<StreamState, 'sink'>): string {
  switch (sink.type) {
    case 'kafka':
      return `Kafka ${sink.topic}`;
    case 'redis':
      return `Redis ${sink.key}`;
    case 'file':
      return `files in ${sink.dir}`;
  }
}
