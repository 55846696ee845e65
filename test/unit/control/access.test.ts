import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AccessRule, type Call } from '../../../src/control/access.ts';

const tls = { cert: '', key: '', clientCa: null };
const TOKENS = { operate: 'all', read: 'look' };
/** What is asked of a caller, and who may do what: role, or the status of the refusal. */
type Row = readonly [call: Partial<Call>, outcome: string | number | null];

function outcomeOf(rule: AccessRule, call: Partial<Call>): string | number | null {
  const verdict = rule.decide({ method: 'GET', isOpen: false, authorization: undefined, certificate: null, ...call });
  return verdict.kind === 'granted' ? verdict.caller.role : verdict.problem.problem.status;
}

describe('who may call', () => {
  const bearer = (token: string): Partial<Call> => ({ authorization: `Bearer ${token}` });
  const certificate = 'CN=somebody';
  const RULES: readonly (readonly [what: string, rule: AccessRule, rows: readonly Row[]])[] = [
    [
      'nothing is asked for',
      new AccessRule({ tokens: null, tls: null }),
      [
        [{}, 'operate'],
        [{ method: 'DELETE' }, 'operate'],
        [bearer('x'), 'operate'],
      ],
    ],
    [
      'one token is',
      new AccessRule({ tokens: { operate: 'all', read: null }, tls }),
      [
        [bearer('all'), 'operate'],
        [{ ...bearer('all'), method: 'DELETE' }, 'operate'],
        [bearer('look'), 401],
        [bearer(''), 401],
        [{}, 401],
        [{ isOpen: true }, null],
        [{ ...bearer('x'), isOpen: true }, 401],
      ],
    ],
    [
      'two tokens are',
      new AccessRule({ tokens: TOKENS, tls }),
      [
        [bearer('look'), 'read'],
        [{ ...bearer('look'), method: 'HEAD' }, 'read'],
        ...['POST', 'PUT', 'PATCH', 'DELETE', 'EVIL'].map((method): Row => [{ ...bearer('look'), method }, 403]),
        [{ ...bearer('all'), method: 'POST' }, 'operate'],
        [{ ...bearer('look'), isOpen: true }, 'read'],
        [{ authorization: 'Basic all' }, 401],
        [{ authorization: 'Bearer all look' }, 401],
      ],
    ],
    [
      'a certificate is, too',
      new AccessRule({ tokens: TOKENS, tls: { ...tls, clientCa: 'PEM' } }),
      [
        [bearer('all'), 403],
        [{ isOpen: true }, null],
        [{ ...bearer('all'), isOpen: true }, null],
        [{ certificate }, 401],
        [{ ...bearer('all'), certificate, method: 'POST' }, 'operate'],
        [{ ...bearer('look'), certificate }, 'read'],
      ],
    ],
  ];
  for (const [what, rule, rows] of RULES)
    it(`where ${what}`, () => {
      for (const [call, outcome] of rows) assert.equal(outcomeOf(rule, call), outcome, JSON.stringify(call));
    });
});
