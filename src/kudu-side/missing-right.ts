import type { KuduError } from '../kudu/errors.ts';

/** A right that a call takes, and what gives it. */
interface Right {
  readonly right: string;
  readonly remedy: string;
}

const WHO = "Spoor's user (SPOOR_KUDU_USER, or the short name of its Kerberos principal or JWT)";
const SUPERUSER: Right = {
  right: 'superuser',
  remedy: `name ${WHO} in --superuser_acl of every master and tablet server, beside the servers' own user, who else loses that right`,
};
const SERVICE: Right = {
  right: 'service user or superuser',
  remedy: `${SUPERUSER.remedy}; or let it be the user that the servers run as (without Kerberos: set SPOOR_KUDU_USER to that)`,
};
const USER: Right = { right: 'user', remedy: `name ${WHO} in --user_acl of every master and tablet server` };

/** Of Ranger, or whatever else gives privileges on tables: masters let those of --trusted_user_acl pass without. */
function privilege(right: string): Right {
  return {
    right,
    remedy: `grant ${WHO} that privilege (in Ranger), or name it in --trusted_user_acl of the masters`,
  };
}

const METADATA = privilege('METADATA on the table');

/** Source: the `authz_method` of each call in kudu/*.proto, server/server_base.cc, master/ranger_authz_provider.cc. */
const BY_ROLE: Readonly<Record<string, Right>> = {
  GetConsensusState: SERVICE,
  GetLastOpId: SERVICE,
  LeaderStepDown: SERVICE,
  ListTablets: SUPERUSER, // by role where tablet servers enforce access control
  GetFlags: SUPERUSER,
  SetFlag: SUPERUSER,
};
const BY_PRIVILEGE: Readonly<Record<string, Right>> = {
  GetTableSchema: METADATA,
  GetTableLocations: METADATA,
  GetTabletLocations: METADATA,
  ListTables: METADATA,
  IsCreateTableDone: METADATA,
  IsAlterTableDone: METADATA,
  CreateTable: privilege("CREATE on the database of Spoor's tables"),
  AlterTable: privilege('ALTER on the table'),
  DeleteTable: privilege('DROP on the table'),
  Write: privilege('INSERT, UPDATE or DELETE on the table (an apply marker takes any one of the three)'),
  Scan: privilege('SELECT on the table'),
};

/**
 * Pure. Which right the refused call takes, and what to do.
 * @param error one that is {@link KuduError.notAuthorized}, and not of a negotiation
 */
export function missingRight(error: KuduError): string {
  const method = error.method ?? '';
  // A role is asked for in front of every call; privileges are looked at by the master, or in a token.
  const isRole = error.kind === 'rpc' && BY_PRIVILEGE[method] === undefined;
  const right = (isRole ? BY_ROLE[method] : BY_PRIVILEGE[method]) ?? BY_ROLE[method] ?? USER;
  const call = method === '' ? 'The call' : method;
  return `${call} takes the right: ${right.right}. What to do: ${right.remedy} (docs/operations.md, Rights).`;
}
