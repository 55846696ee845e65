import assert from 'node:assert/strict';
import type { OpId } from '../../src/kudu/opid.ts';
import type { MarkedStream } from '../../src/change/apply-marker.ts';
import { HeldLog } from './held-log.ts';

/** A REPLICATE. The same object in every log that has it. */
export interface Entry {
  readonly opId: OpId;
  readonly index: number;
  readonly term: number;
  /** Rows that Kudu applied; a NO_OP, a marker and a write of which every row was rejected have none. */
  readonly rows: number;
  readonly kind: 'write' | 'no-op' | 'marker';
  readonly marker: readonly MarkedStream[] | null;
}

/** One replica, as its tablet server keeps it. */
export class Replica {
  readonly id: number;
  readonly uuid: string;
  readonly hold = new HeldLog();
  /** Log[i] has index i + 1; what GC took away is still here, below `first`. */
  log: Entry[] = [];
  /** The lowest index that the server's own log has. */
  first = 1;
  term = 0;
  /** Whether it believes that it leads. */
  leads = false;
  knownLeader: number | null = null;
  commitIndex = 0;
  /** COMMITs up to here are in its log. */
  shown = 0;
  running = true;
  /** Whether its tablet server is there at all. */
  up = true;
  /** Every REPLICATE in the order in which it came into the log, overwritten ones too: what a tail sees. */
  readonly journal: Entry[] = [];

  constructor(id: number) {
    this.id = id;
    this.uuid = `ts-${id}`;
  }

  get last(): Entry | undefined {
    return this.log.at(-1);
  }

  append(entry: Entry): void {
    assert.equal(entry.index, this.log.length + 1, 'the world itself is broken: a log with a hole');
    this.log.push(entry);
    this.journal.push(entry);
  }

  truncate(length: number): void {
    assert.ok(length >= this.commitIndex, 'the world itself is broken: a committed operation is overwritten');
    this.log.length = length;
  }
}

/** The replicated log of one tablet with three voters, as Raft has it. */
export class Tablet {
  readonly replicas = [new Replica(0), new Replica(1), new Replica(2)];
  /** The truth: what is committed, by index - 1. */
  readonly committed: Entry[] = [];

  /** Replicas that take writes: also a deposed leader that does not know it yet. */
  leaders(): Replica[] {
    return this.replicas.filter(({ leads, running, up }) => leads && running && up);
  }

  /** Makes a replica the leader of a new term, if a majority's logs are no newer than its own. */
  elect(candidate: Replica): boolean {
    const voters = this.replicas.filter((voter) => voter.running && voter.up && !isNewer(voter, candidate));
    if (!candidate.running || !candidate.up || voters.length < 2) return false;
    const term = Math.max(...this.replicas.map((replica) => replica.term)) + 1;
    for (const voter of voters) {
      voter.term = term;
      voter.leads = voter === candidate;
      voter.knownLeader = candidate.id;
    }
    this.propose(candidate, { kind: 'no-op', rows: 0, marker: null });
    return true;
  }

  propose(leader: Replica, { kind, rows, marker }: Pick<Entry, 'kind' | 'rows' | 'marker'>): Entry {
    const index = leader.log.length + 1;
    const { term } = leader;
    const entry = { opId: { term: BigInt(term), index: BigInt(index) }, index, term, kind, rows, marker };
    leader.append(entry);
    return entry;
  }

  /** One request of a leader to a follower, with up to `count` operations; `hasGap` where the leader's log lacks them. */
  replicate(leader: Replica, follower: Replica, count: number): 'done' | 'refused' | 'has-gap' {
    if (!follower.running || !follower.up || follower.term > leader.term) return 'refused';
    follower.term = leader.term;
    follower.leads = false;
    follower.knownLeader = leader.id;
    let same = Math.min(follower.log.length, leader.log.length);
    while (same > 0 && follower.log[same - 1] !== leader.log[same - 1]) same--;
    if (same + 1 < leader.first && same < leader.log.length) return 'has-gap';
    const to = Math.min(leader.log.length, same + count);
    if (same < follower.log.length && to > same) follower.truncate(same);
    for (let i = same; i < to; i++) follower.append(leader.log[i]!);
    this.#advance(leader);
    follower.commitIndex = Math.max(follower.commitIndex, Math.min(leader.commitIndex, Math.max(same, to)));
    return 'done';
  }

  /** The replica is tombstoned and copied anew from a source: it has the source's log from that one's first operation. */
  copy(replica: Replica, source: Replica): void {
    const known = new Set(replica.log);
    replica.log = [...source.log];
    replica.first = source.first;
    replica.commitIndex = source.commitIndex;
    replica.shown = source.shown;
    replica.term = Math.max(replica.term, source.term);
    for (const entry of source.log.slice(source.first - 1)) if (!known.has(entry)) replica.journal.push(entry);
  }

  /** A leader commits what a majority of its term has, and only operations of its own term on their own. */
  #advance(leader: Replica): void {
    for (let index = leader.log.length; index > leader.commitIndex; index--) {
      const entry = leader.log[index - 1]!;
      if (entry.term !== leader.term) return;
      const have = this.replicas.filter(({ term, log }) => term === leader.term && log[index - 1] === entry);
      if (have.length < 2) continue;
      leader.commitIndex = index;
      for (let at = 1; at <= index; at++) {
        const before = this.committed[at - 1];
        assert.ok(
          before === undefined || before === leader.log[at - 1],
          'the world itself is broken: two operations are committed at one index',
        );
        this.committed[at - 1] = leader.log[at - 1]!;
      }
      return;
    }
  }
}

function isNewer(a: Replica, b: Replica): boolean {
  const [termA, termB] = [a.last?.term ?? 0, b.last?.term ?? 0];
  return termA === termB ? a.log.length > b.log.length : termA > termB;
}
