/**
 * What can go wrong with a guest's freeze, told with its remedy. Every one is snapshot/quiesce. Pure.
 */
import { messageOf, StorageError } from '../base/errors.ts';
import { TimeOver } from '../base/time-limit.ts';
import { AgentRefusal } from './agent-channel.ts';

const withoutQuiesce = 'without --quiesce the snapshot is crash-consistent';

/** The guest is as it was before, as far as it can be told. */
export function notQuiesced(socket: string, what: string, cause: unknown): StorageError {
  return quiesceError(`${what}: guest agent at ${socket}: ${messageOf(cause)}`, cause, [
    ...remedyFor(cause),
    withoutQuiesce,
  ]);
}

/** @param status what the agent says instead of `thawed` */
export function frozenBefore(socket: string, status: unknown): StorageError {
  const state = status === 'frozen' ? 'frozen already' : `in state ${JSON.stringify(status)}`;
  return quiesceError(`the guest is ${state}, and was left so: guest agent at ${socket}`, null, [
    'wait until whoever froze it has thawed it; virsh domfsthaw DOMAIN if nobody will',
    withoutQuiesce,
  ]);
}

/** @param before why it had to be thawed, if that was an error, too */
export function mayBeFrozen(socket: string, thawError: unknown, before: unknown): StorageError {
  const after = before === undefined ? '' : ` (after: ${messageOf(before)})`;
  return quiesceError(
    `the guest may still be frozen, thawing failed: guest agent at ${socket}: ${messageOf(thawError)}${after}`,
    before === undefined ? thawError : new AggregateError([thawError, before]),
    ['thaw it: virsh domfsthaw DOMAIN, or guest-fsfreeze-thaw to the agent; else restart it'],
  );
}

/** The guest wrote before the work had ended. */
export function didNotHold(frozen: number, thawed: number): StorageError {
  return quiesceError(
    `the freeze did not hold: ${thawed} of ${frozen} filesystems were still frozen at the end`,
    null,
    ['repeat it when the guest writes less', withoutQuiesce],
  );
}

function remedyFor(cause: unknown): readonly string[] {
  if (cause instanceof TimeOver) {
    return [
      'see that qemu-guest-agent runs in the guest and that nothing else, libvirt say, holds the socket',
    ];
  }
  if (cause instanceof AgentRefusal) return ["look at the agent's log in the guest"];
  return ['name the socket of the chardev that QEMU has for org.qemu.guest_agent.0'];
}

function quiesceError(message: string, cause: unknown, actions: readonly string[]): StorageError {
  return new StorageError('snapshot/quiesce', message, {
    ...(cause === null ? {} : { cause }),
    actions,
  });
}
