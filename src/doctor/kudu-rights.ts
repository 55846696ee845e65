import { KuduError } from '../kudu/errors.ts';
import type { ServerFlag } from '../kudu/tserver-proxy.ts';
import type { Probe } from './examine.ts';
import { advice, fault, faultsOr, ok, unknown, type Finding } from './finding.ts';
import { kuduFault, type KuduAsk } from './kudu-ask.ts';

const ASK_AGAIN = 'Look whether the server answers from this machine, and ask again.';
/** No tablet has it: what is asked of it is answered with nothing, by whoever may ask. */
const NO_TABLET = '0'.repeat(32);

/** Calls that Spoor makes all the time, each tried in a way that changes nothing. What takes a write cannot be tried. */
export function rightsProbe(kudu: KuduAsk, tserver: string): Probe {
  return {
    check: 'rights',
    look: async (signal) => {
      const server = kudu.server(tserver);
      let uuid: string;
      try {
        ({ uuid } = await server.getStatus({ signal }));
      } catch {
        return [unknown('rights', 'looked at once the tablet server answers')];
      }
      const calls = [
        server.getConsensusState({ serverUuid: uuid, tabletIds: [NO_TABLET] }, { signal }),
        server.listTablets({ signal }),
        kudu.cluster().then((client) => client.listTables({ signal })),
      ];
      const faults = (await Promise.allSettled(calls)).flatMap((call) => {
        if (call.status === 'fulfilled') return [];
        const isRight = call.reason instanceof KuduError && call.reason.notAuthorized;
        return isRight ? [kuduFault('rights', 'this user may not', call.reason, ASK_AGAIN)] : [];
      });
      return faultsOr(faults, ok('rights', 'consensus state, tablets and tables may be asked for'));
    },
  };
}

/** Flags of the tablet server that matter to Spoor; one that it does not have is not there. */
export type TserverFlags = ReadonlyMap<string, string>;

/** With fewer, what is written while a sidecar restarts may be gone before it is back. */
const ROOM_SEGMENTS = 10;
/** What a copy may take at least; more is better. */
const LEAST_HISTORY_S = 3600;

const FLAGS = [
  'log_min_segments_to_retain',
  'tablet_history_max_age_sec',
  'use_hybrid_clock',
  'encrypt_data_at_rest',
  'encryption_key_provider',
];

/** @param raisesRetention SPOOR_HOLD_SERVER: the first is then seen to by the sidecar */
export function judgeFlags(flags: TserverFlags, tserver: string, raisesRetention: boolean): readonly Finding[] {
  const faults: Finding[] = [];
  const add = (what: string, remedy: string): void => {
    faults.push(fault('flags', what, remedy));
  };
  const segments = Number(flags.get('log_min_segments_to_retain') ?? ROOM_SEGMENTS);
  // Stock servers have it so, and what is lost is made up for by other replicas or the table.
  if (segments < ROOM_SEGMENTS && !raisesRetention)
    faults.push(
      advice(
        'flags',
        `log_min_segments_to_retain is ${segments}: what is written while the sidecar restarts may be gone before it is back`,
        `kudu tserver set_flag ${tserver} log_min_segments_to_retain ${ROOM_SEGMENTS}, and --log_min_segments_to_retain=${ROOM_SEGMENTS} in the server's flag file; or SPOOR_HOLD_SERVER=on.`,
      ),
    );
  const history = Number(flags.get('tablet_history_max_age_sec') ?? LEAST_HISTORY_S);
  if (history >= 0 && history < LEAST_HISTORY_S)
    add(
      `tablet_history_max_age_sec is ${history}: a copy or a repair that takes longer begins again and again`,
      'Start the tablet servers with --tablet_history_max_age_sec=604800, which is the default, or an hour at least.',
    );
  if (flags.get('use_hybrid_clock') === 'false')
    add(
      'use_hybrid_clock is off: operations have no time of day, and copies no moment',
      'Start masters and tablet servers with --use_hybrid_clock=true, which is the default.',
    );
  const provider = flags.get('encryption_key_provider') ?? 'default';
  if (flags.get('encrypt_data_at_rest') === 'true' && provider !== 'default')
    add(
      `the log is encrypted with keys of ${provider}, which Spoor cannot have`,
      'Spoor reads logs whose keys the server keeps itself: --encryption_key_provider=default.',
    );
  return faultsOr(faults, ok('flags', `log_min_segments_to_retain is ${segments}`));
}

export function flagsProbe(kudu: KuduAsk, tserver: string, raisesRetention: boolean): Probe {
  return {
    check: 'flags',
    look: async (signal) => {
      let flags: readonly ServerFlag[];
      try {
        flags = await kudu.server(tserver).getFlags(FLAGS, { signal });
      } catch (error) {
        const mayNot = error instanceof KuduError && error.notAuthorized;
        if (mayNot && raisesRetention)
          return [kuduFault('flags', 'SPOOR_HOLD_SERVER=on cannot work', error, ASK_AGAIN)];
        const why = mayNot
          ? 'that takes a superuser, and nothing else of Spoor does'
          : 'the tablet server does not answer';
        return [unknown('flags', `not looked at: ${why}`)];
      }
      return judgeFlags(new Map(flags.map(({ name, value }) => [name, value])), tserver, raisesRetention);
    },
  };
}
