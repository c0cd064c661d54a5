import { Button, type ButtonProps } from '@pf/Button'
import { Tooltip } from '@pf/Tooltip'
import type { Schemas } from '../api/client'

interface Props extends Omit<ButtonProps, 'isDisabled' | 'isAriaDisabled' | 'ref'> {
  /** Whether the action is possible now, and why not, as the hub says. */
  may: Schemas['Availability']
}

/** A button that tells why it cannot be used: it stays reachable by keyboard, so that the reason does too. */
export function GateButton({ may, ...button }: Props) {
  if (may.allowed) {
    return <Button {...button} />
  }
  return (
    <Tooltip content={may.reason ?? ''}>
      <Button {...button} isAriaDisabled />
    </Tooltip>
  )
}
