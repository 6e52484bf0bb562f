/**
 * Thawing a guest, as surely as it can be done from outside.
 *
 * Guarantees: the request is sent before anything is waited for, so that it follows a freeze which is still on its
 * way; a lost connection is made anew until the time is over. Thawing a thawed guest harms nothing.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { TimeLimit } from '../base/time-limit.ts';
import { AgentChannel, AgentRefusal } from './agent-channel.ts';

/** Between two attempts: short beside what applications in the guest bear, long beside a connect. */
const retryMs = 100;

/**
 * Thaws the guest; closes the channel.
 *
 * @param channel the connection to begin with; a new one is made when it is lost
 * @returns what the agent says: how many filesystems were frozen until now
 * @throws Error the agent refused, or did not answer in time: filesystems may still be frozen
 */
export async function thawGuest(
  socket: string,
  channel: AgentChannel,
  timeoutMs: number,
): Promise<unknown> {
  const limit = new TimeLimit(timeoutMs);
  let current = channel;
  let lost: unknown;
  try {
    for (;;) {
      try {
        return await thaw(current, limit.signal);
      } catch (error) {
        if (error instanceof AgentRefusal) throw error;
        if (limit.signal.aborted) throw lost ?? error;
        lost = error;
      }
      current.close();
      await delay(retryMs);
      current = new AgentChannel(socket);
    }
  } finally {
    current.close();
    limit.clear();
  }
}

async function thaw(channel: AgentChannel, signal: AbortSignal): Promise<unknown> {
  const synced = channel.sync(signal);
  const [answer] = await Promise.all([channel.request('guest-fsfreeze-thaw', signal), synced]);
  return answer;
}
