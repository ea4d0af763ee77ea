import { HttpTestingController } from '@angular/common/http/testing';
import { createEnvironmentInjector, EnvironmentInjector } from '@angular/core';
import { TestBed } from '@angular/core/testing';
import { connect, logIn, logOut, pass, Socket } from '../../../testing/feed';
import { DeviceState } from './device-state';

let http: HttpTestingController;
let state: DeviceState;

beforeEach(async () => {
  http = await logIn();
  state = createEnvironmentInjector([DeviceState], TestBed.inject(EnvironmentInjector)).get(DeviceState);
  state.id.set(42);
  (await connect()).done();
});

afterEach(logOut);

/** Answers what asks for the device, as it was at that second. */
async function answer(second: number, fields: object = {}): Promise<void> {
  const last_seen = `2026-01-01T00:00:0${second}.000250Z`;
  const device = { id: 42, chip: 'esp32', chip_reported: 'esp32', firmware_version: '1.0.0', last_seen, ...fields };
  http.expectOne('/devices/42').flush({ status: 'offline', ...device });
  http.expectOne('/devices/42/status').flush({ telemetry: { heap: second }, update: null });
  await pass(0);
}

function tell(second: number): void {
  const data = {
    device_id: 42,
    status: 'online',
    last_seen: `2026-01-01T00:00:0${second}.000Z`,
    telemetry: { heap: second },
  };
  Socket.last.say({ topic: 'device:42', event: 'status', at: data.last_seen, data });
}

describe('DeviceState', () => {
  it('takes what was told before the first answer, unless the answer is newer', async () => {
    tell(5);
    await answer(3);
    expect(state.device()?.status).toBe('online');
    expect(state.telemetry()).toEqual({ heap: 5 });
    state.readDevice();
    tell(6);
    await answer(8);
    expect(state.device()?.status).toBe('offline');
    expect(state.telemetry()).toEqual({ heap: 8 });
  });

  it('takes a status without a time, of a device that has gone silent, as the newest', async () => {
    await answer(3, { status: 'online' });
    state.readDevice();
    const data = { device_id: 42, status: 'offline', telemetry: {} };
    Socket.last.say({ topic: 'device:42', event: 'status', at: '2026-01-01T00:00:05.000Z', data });
    await answer(3, { status: 'online' });
    expect(state.device()?.status).toBe('offline');
  });

  it('lists images once, however often the device says something, and for another chip again', async () => {
    const list = () => http.match(({ url }) => url === '/firmware/list');
    await answer(1);
    expect(list()).toHaveLength(1);
    for (let i = 2; i < 9; i++) {
      tell(i);
      await pass(10);
    }
    expect(list()).toHaveLength(0);
    state.readDevice();
    await answer(9, { chip: 'esp32s3' });
    expect(list()).toHaveLength(1);
  });
});
