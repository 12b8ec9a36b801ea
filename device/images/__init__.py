"""Pictures as arrays: the frame, 4:2:0 planes, files, overlays, blur and noise, generated scenes, PSNR and SSIM."""
