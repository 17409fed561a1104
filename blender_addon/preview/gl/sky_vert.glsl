void main()
{
  gl_Position = vec4(position, 0.0, 1.0);
  ray = (frame.ray_middle + frame.ray_right * position.x + frame.ray_up * position.y).xyz;
}
