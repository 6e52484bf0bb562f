/**
 * Makes a unix socket's path free to bind: a socket left behind by a kill goes, a living one stays.
 */
import { lstat, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { StorageError } from '../base/errors.ts';
import { checkUnixPath } from './address.ts';

/**
 * The path is free, or was freed of a socket that nobody answers on.
 *
 * @throws StorageError export/listen too long, somebody answers there, or it is no socket
 */
export async function freeSocketPath(path: string): Promise<void> {
  checkUnixPath(path);
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw taken(path, 'something that is no socket is there');
  if (await answers(path)) throw taken(path, 'another program listens there');
  await unlink(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Only a refusal or a vanished file says that nobody is there; anything else could be somebody.
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT');
    });
  });
}

function taken(path: string, why: string): StorageError {
  return new StorageError('export/listen', `cannot listen on ${path}: ${why}`, {
    actions: ['choose another path, or stop what holds it'],
  });
}
