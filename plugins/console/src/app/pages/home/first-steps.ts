import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { MatButtonModule } from '@angular/material/button';
import { RouterLink } from '@angular/router';
import { mdiCheckCircle, mdiCircleOutline } from '@mdi/js';
import { Api } from '../../core/api';
import { Firmware, Page } from '../../core/models';
import { Session } from '../../core/session';
import { Icon } from '../../ui/icon';

/** A newcomer's way from an empty installation to the first updated device; gone once it has been walked. */
@Component({
  selector: 'otad-first-steps',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, MatButtonModule, RouterLink],
  template: `@if (shown()) {
    <section class="panel" aria-labelledby="first-steps">
      <header><h2 id="first-steps">First steps</h2></header>
      <ol>
        @for (step of steps(); track step.text) {
          <li [class.done]="step.done">
            <otad-icon [path]="step.done ? icons.done : icons.open" />
            <div>
              <strong>{{ step.text }}</strong>
              <span class="visually-hidden">{{ step.done ? '(done)' : '' }}</span>
              <p class="muted">{{ step.why }}</p>
            </div>
            @if (step === next()) {
              <a matButton="filled" [routerLink]="step.link">{{ step.verb }}</a>
            }
          </li>
        }
      </ol>
    </section>
  }`,
  styles: `
    :host {
      display: contents;
    }
    ol {
      display: grid;
      gap: 14px;
      list-style: none;
    }
    li {
      display: flex;
      align-items: center;
      gap: 12px;
    }
    li > div {
      flex: 1;
    }
    otad-icon {
      width: 22px;
      height: 22px;
      color: var(--line-strong);
    }
    .done otad-icon {
      color: var(--good);
    }
    .done p {
      display: none;
    }
  `,
})
export class FirstSteps {
  readonly devices = input.required<number>();
  readonly updated = input.required<boolean>();

  protected readonly icons = { done: mdiCheckCircle, open: mdiCircleOutline };
  private readonly operator = inject(Session).operator;
  private readonly images = inject(Api).resource<Page<Firmware>>(() => '/firmware/list?limit=1');

  protected readonly steps = computed(() => [
    {
      text: 'Add a device',
      why: 'Give it a code, and get what it connects with. A simulated device will do: the page tells how to start one.',
      verb: 'Add a device',
      link: '/devices/add',
      done: this.devices() > 0,
    },
    {
      text: this.operator() ? 'Upload firmware' : 'Have firmware uploaded',
      why: this.operator()
        ? 'The application image of your project, or a demo image that the page makes.'
        : 'An operator does that: ask one for what your device shall run.',
      verb: this.operator() ? 'Upload firmware' : 'Go to the firmware',
      link: '/firmware',
      done: (this.images.value()?.items.length ?? 0) > 0,
    },
    {
      text: 'Update the device',
      why: 'Choose the firmware on the page of the device, and watch.',
      verb: 'Go to the devices',
      link: '/devices',
      done: this.updated(),
    },
  ]);
  protected readonly next = computed(() => this.steps().find(({ done }) => !done));
  protected readonly shown = computed(() => {
    const images = this.images.value();
    return !!images && (this.devices() === 0 || !images.items.length || (this.devices() < 3 && !this.updated()));
  });
}
