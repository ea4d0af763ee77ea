import { ChangeDetectionStrategy, Component, computed, inject, signal, viewChild } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatSelectModule } from '@angular/material/select';
import { RouterLink } from '@angular/router';
import { Api, ApiError } from '../../core/api';
import { CHIP_NAMES } from '../../core/chips';
import { Registration, Tags } from '../../core/models';
import { Confirm } from '../../ui/confirm';
import { Copy } from '../../ui/copy';
import { Problem } from '../../ui/notice';
import { focusHeading, PageHeader } from '../../ui/page-header';
import { TagsField } from '../../ui/tags-field';
import { codeProblem, simulatorCommand } from './configs';
import { CredentialsView } from './credentials';
import { FirstContact } from './first-contact';
import { Flash } from './flash';

/** Registers a device, shows its credentials this once, and waits for it to connect. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    Copy,
    CredentialsView,
    FirstContact,
    Flash,
    FormsModule,
    MatButtonModule,
    MatFormFieldModule,
    MatInputModule,
    MatSelectModule,
    PageHeader,
    Problem,
    RouterLink,
    TagsField,
  ],
  templateUrl: './add-device.html',
  styleUrl: './add-device.scss',
  host: { '(window:beforeunload)': 'onUnload($event)' },
})
export class AddDevicePage {
  private readonly api = inject(Api);
  private readonly confirm = inject(Confirm);
  private readonly tagsField = viewChild(TagsField);
  private readonly flash = viewChild(Flash);

  protected readonly chips = CHIP_NAMES;
  protected readonly code = signal('');
  protected readonly touched = signal(false);
  protected readonly name = signal('');
  protected readonly chip = signal<string | null>(null);
  protected readonly tags = signal<Tags>({});
  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  private readonly taken = signal<string[]>([]);
  protected readonly registration = signal<Registration | null>(null);
  protected readonly kept = signal(false);

  protected readonly codeProblem = computed(() =>
    this.taken().includes(this.code().trim())
      ? 'There is a device with this code already.'
      : codeProblem(this.code().trim()),
  );
  protected readonly command = computed(() => simulatorCommand(this.registration()!.device));

  /** Asked by the router, before a password goes that nobody kept. */
  async mayLeave(): Promise<boolean> {
    if (this.flash()?.busy()) {
      return this.leave('The flash of the board is being written. A board that is left half written does not start.');
    }
    if (!this.registration() || this.kept()) return true;
    return this.leave('The password of the new device was neither copied nor downloaded, and is not shown again.');
  }

  protected onUnload(event: BeforeUnloadEvent): void {
    if (this.flash()?.busy() || (this.registration() && !this.kept())) event.preventDefault();
  }

  protected async register(): Promise<void> {
    this.touched.set(true);
    if (!this.tagsField()?.take() || this.codeProblem()) return;
    this.busy.set(true);
    this.error.set(null);
    const code = this.code().trim();
    try {
      const name = this.name().trim();
      this.registration.set(
        await this.api.post<Registration>('/devices/register', {
          device_code: code,
          ...(name && { name }),
          ...(this.chip() && { chip: this.chip() }),
          ...(Object.keys(this.tags()).length && { tags: this.tags() }),
        }),
      );
      this.kept.set(false);
      focusHeading();
    } catch (error) {
      const problem = ApiError.of(error);
      if (problem.status === 409) this.taken.update((codes) => [...codes, code]);
      else this.error.set(problem);
    } finally {
      this.busy.set(false);
    }
  }

  /** The form again, for one more of the same kind. */
  protected async another(): Promise<void> {
    if (!(await this.mayLeave())) return;
    this.registration.set(null);
    this.code.set('');
    this.name.set('');
    this.touched.set(false);
    focusHeading();
  }

  private async leave(text: string): Promise<boolean> {
    const reason = await this.confirm.ask({ title: 'Leave this page?', text, verb: 'Leave', danger: true });
    return reason !== undefined;
  }
}
